//go:build !linux

package main

import "errors"

func newVeth(int) (*link, error) {
	return nil, errors.New("-netns is for Linux: nobody else has network namespaces")
}
