//go:build interop

package interop

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// randomReader returns n pseudo-random bytes, the same as the peers make of a seed: AES-128 in counter mode, whose key
// ends with the seed.
func randomReader(n int64, seed uint64) io.Reader {
	var key [16]byte
	binary.BigEndian.PutUint64(key[8:], seed)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	return io.LimitReader(cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, 16)), R: zeros{}}, n)
}

// random returns those bytes in one piece.
func random(n int64, seed uint64) []byte {
	b, err := io.ReadAll(randomReader(n, seed))
	if err != nil {
		panic(err)
	}
	return b
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// digest is how peers report what they read: the number of bytes, and their SHA-256 in hexadecimal.
type digest struct {
	hash.Hash
	n int64
}

func newDigest() *digest { return &digest{Hash: sha256.New()} }

func (d *digest) Write(b []byte) (int, error) { d.n += int64(len(b)); return d.Hash.Write(b) }

func (d *digest) String() string { return fmt.Sprint(d.n, " ", hex.EncodeToString(d.Sum(nil))) }

// randomDigest is the digest of n bytes of a seed.
func randomDigest(n int64, seed uint64) string {
	d := newDigest()
	if _, err := io.Copy(d, randomReader(n, seed)); err != nil {
		panic(err)
	}
	return d.String()
}
