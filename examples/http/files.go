package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const (
	smallFiles = 50
	smallSize  = 10_000
	largeSize  = 256 << 20
)

// file is what the demonstration serves, and what has to arrive.
type file struct {
	name string
	size int64
	sum  [sha256.Size]byte
}

// makeFiles fills a directory: the large file, and then the small ones.
func makeFiles(dir string) ([]file, error) {
	large, err := makeFile(dir, "large", largeSize)
	if err != nil {
		return nil, err
	}
	files := []file{large}
	for i := range smallFiles {
		small, err := makeFile(dir, fmt.Sprintf("small-%d", i), smallSize)
		if err != nil {
			return nil, err
		}
		files = append(files, small)
	}
	return files, nil
}

// makeFile writes a file of random bytes.
func makeFile(dir, name string, size int64) (file, error) {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	var seed [32]byte
	copy(seed[:], name)
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8(seed), size); err != nil {
		return file{}, err
	}
	made := file{name: name, size: size}
	sum.Sum(made.sum[:0])
	return made, f.Close()
}
