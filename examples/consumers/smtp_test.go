package consumers

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// letter is what an SMTP server has received.
type letter struct {
	from, user string
	to         []string
	text       []byte
}

// serveSMTP speaks the server's part of SMTP, with STARTTLS, until QUIT, and
// returns the letters.
func serveSMTP(raw net.Conn, config *tls.Config) (letters []letter, err error) {
	defer raw.Close()
	c := textproto.NewConn(raw)
	var secure bool
	var l letter
	if err := c.PrintfLine("220 mail.example ready"); err != nil {
		return nil, err
	}
	for {
		line, err := c.ReadLine()
		if err != nil {
			return letters, err
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "EHLO":
			extension := "STARTTLS"
			if secure {
				extension = "AUTH PLAIN"
			}
			err = c.PrintfLine("250-mail.example\r\n250 %s", extension)
		case "STARTTLS":
			if err := c.PrintfLine("220 go ahead"); err != nil {
				return letters, err
			}
			upgraded := tls.Server(raw, config)
			defer upgraded.Close()
			c, secure = textproto.NewConn(upgraded), true
		case "AUTH":
			plain, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			l.user = strings.ReplaceAll(string(plain), "\x00", ":")
			err = c.PrintfLine("235 welcome")
		case "MAIL":
			l.from = rest
			err = c.PrintfLine("250 ok")
		case "RCPT":
			l.to = append(l.to, rest)
			err = c.PrintfLine("250 ok")
		case "DATA":
			if err := c.PrintfLine("354 end with a dot"); err != nil {
				return letters, err
			}
			if l.text, err = c.ReadDotBytes(); err != nil {
				return letters, err
			}
			letters = append(letters, l)
			l.to = nil
			err = c.PrintfLine("250 taken")
		case "QUIT":
			return letters, errors.Join(c.PrintfLine("221 bye"), c.Close())
		default:
			err = c.PrintfLine("502 what is %s", verb)
		}
		if err != nil {
			return letters, err
		}
	}
}

// TestSMTP sends letters with net/smtp to a server made of net/textproto. The
// server speaks first, and both change to TLS in the middle.
func TestSMTP(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	type result struct {
		letters []letter
		err     error
	}
	results := make(chan result, 1)
	l := serve(t, func(c net.Conn) {
		letters, err := serveSMTP(c, serverTLS)
		results <- result{letters, err}
	})
	c, err := smtp.NewClient(dial(t, l.Addr()), "127.0.0.1")
	require.NoError(t, err)
	require.NoError(t, c.StartTLS(clientTLS))
	require.NoError(t, c.Auth(smtp.PlainAuth("", "gopher", "secret", "127.0.0.1")))
	var texts [][]byte
	for i := range 5 {
		var text bytes.Buffer
		for j := range 1 + i*1000 {
			fmt.Fprintf(&text, ".line %d with a dot in front, %x\n", j, pattern(j%60, uint64(j)))
		}
		texts = append(texts, text.Bytes())
		require.NoError(t, c.Mail("a@example"))
		require.NoError(t, c.Rcpt("b@example"))
		require.NoError(t, c.Rcpt("c@example"))
		w, err := c.Data()
		require.NoError(t, err)
		_, err = io.Copy(w, bytes.NewReader(text.Bytes()))
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	_, ok := errors.AsType[*textproto.Error](c.Verify("d@example"))
	require.True(t, ok)
	require.NoError(t, c.Quit())

	got := receive(t, results, "the server")
	require.NoError(t, got.err)
	require.Len(t, got.letters, len(texts))
	for i, letter := range got.letters {
		require.Contains(t, letter.from, "<a@example>")
		require.Equal(t, ":gopher:secret", letter.user)
		require.Equal(t, []string{"TO:<b@example>", "TO:<c@example>"}, letter.to)
		require.True(t, bytes.Equal(texts[i], letter.text), "letter %d", i)
	}
}
