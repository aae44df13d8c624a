//go:build race

package utp

// raceEnabled: sync.Pool forgets at random then, and everything takes longer.
const raceEnabled = true
