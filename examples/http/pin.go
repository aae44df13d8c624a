package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Between peers there is rarely a certificate authority. The server makes its
// own certificate, and the client is told, on a way that it trusts, which one to
// expect.

// selfSigned makes a key and a certificate for it.
func selfSigned() (tls.Certificate, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "utppunch example"},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().AddDate(1, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// fingerprint is the SHA-256 of a certificate in hexadecimal.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// errOtherCertificate says that whoever answered is not who was expected.
var errOtherCertificate = errors.New("the server's certificate is not the pinned one")

// pinned configures a client to accept one certificate only, and for any name.
// Colons and upper case in the fingerprint do not matter.
func pinned(pin string) (*tls.Config, error) {
	want := strings.ToLower(strings.ReplaceAll(pin, ":", ""))
	if sum, err := hex.DecodeString(want); err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("%q is not a SHA-256 fingerprint, which has 64 hexadecimal digits", pin)
	}
	return &tls.Config{
		// This turns off the check of names and authorities only. VerifyConnection
		// is stricter, and is also called when a session is resumed.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if got := fingerprint(state.PeerCertificates[0]); got != want {
				return fmt.Errorf("%w: it is %s", errOtherCertificate, got)
			}
			return nil
		},
	}, nil
}
