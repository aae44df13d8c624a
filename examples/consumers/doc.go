// Package consumers holds tests that run what is written against package net over
// uTP: net/http, crypto/tls, SSH, net/rpc and others, as they are. Nothing in
// here knows more of the library than that it listens and dials.
//
// The tests are also where to look up how such a program is put together.
package consumers
