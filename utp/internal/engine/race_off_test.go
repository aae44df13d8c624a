//go:build !race

package engine

// raceEnabled says that everything is ten times slower.
const raceEnabled = false
