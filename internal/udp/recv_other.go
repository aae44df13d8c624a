//go:build !linux

package udp

// receiver has nothing to keep where reading is package net's business.
type receiver struct{}

func (*receiver) init(*socket) {}

func (s *socket) read(d []Datagram) (int, error) { return s.readOne(d) }
