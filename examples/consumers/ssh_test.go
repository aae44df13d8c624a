package consumers

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// loginSSH opens an SSH connection that changes its keys every so many bytes;
// 0 is the default, which is too many for a test.
func loginSSH(t testing.TB, s *sshServer, auth ssh.AuthMethod, rekey uint64) (*ssh.Client, error) {
	t.Helper()
	address := s.listener.Addr().String()
	// The host's key is looked up by address, as ssh does it.
	file := filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{knownhosts.Normalize(address)}, s.hostKey)
	require.NoError(t, os.WriteFile(file, []byte(line+"\n"), 0o600))
	known, err := knownhosts.New(file)
	require.NoError(t, err)

	var banner string
	config := &ssh.ClientConfig{
		User:            sshUser,
		Auth:            []ssh.AuthMethod{auth},
		HostKeyCallback: known,
		BannerCallback: func(message string) error {
			banner = message
			return nil
		},
	}
	c := dial(t, s.listener.Addr())
	conn, channels, requests, err := ssh.NewClientConn(c, address, config)
	if err != nil {
		return nil, err
	}
	require.Equal(t, sshBanner, banner)
	client := ssh.NewClient(conn, channels, requests)
	t.Cleanup(func() { client.Close() })
	return client, nil
}

// connectSSH opens an SSH connection to a new server.
func connectSSH(t testing.TB, rekey uint64) (*ssh.Client, *sshServer) {
	t.Helper()
	key := newSSHKey(t)
	s := serveSSH(t, key.PublicKey())
	client, err := loginSSH(t, s, ssh.PublicKeys(key), rekey)
	require.NoError(t, err)
	return client, s
}

func TestSSHAuthentication(t *testing.T) {
	key := newSSHKey(t)
	s := serveSSH(t, key.PublicKey())
	for _, auth := range []ssh.AuthMethod{ssh.Password(sshPassword), ssh.PublicKeys(key)} {
		client, err := loginSSH(t, s, auth, 0)
		require.NoError(t, err)
		require.NoError(t, client.Close())
		require.Error(t, receive(t, s.ended, "the server to notice"))
	}
	for _, auth := range []ssh.AuthMethod{ssh.Password("wrong"), ssh.PublicKeys(newSSHKey(t))} {
		_, err := loginSSH(t, s, auth, 0)
		require.ErrorContains(t, err, "unable to authenticate")
		require.Error(t, receive(t, s.ended, "the server to notice"))
	}
}

// TestSSHServerSpeaksFirst reads the version of the server without a word.
func TestSSHServerSpeaksFirst(t *testing.T) {
	s := serveSSH(t, newSSHKey(t).PublicKey())
	c := dial(t, s.listener.Addr())
	got := make([]byte, len("SSH-2.0-"))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, "SSH-2.0-", string(got))
	require.NoError(t, c.Close())
	require.Error(t, receive(t, s.ended, "the server to notice"))
}

// runCat sends data through a session that returns it.
func runCat(client *ssh.Client, data []byte) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	var got bytes.Buffer
	session.Stdin, session.Stdout = bytes.NewReader(data), &got
	if err := session.Run("cat"); err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), data) {
		return fmt.Errorf("sent %d bytes, received %d others", len(data), got.Len())
	}
	return nil
}

// TestSSHSession runs commands with data both ways, while the keys are exchanged
// many times. This is not done with many sessions: golang.org/x/crypto v0.58.0
// then comes to a standstill once in a while, over TCP, too.
func TestSSHSession(t *testing.T) {
	client, _ := connectSSH(t, 256<<10)
	require.NoError(t, runCat(client, pattern(4<<20, 20)))

	session, err := client.NewSession()
	require.NoError(t, err)
	data := pattern(4<<20, 21)
	var stdout, stderr bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = bytes.NewReader(data), &stdout, &stderr
	failed, ok := errors.AsType[*ssh.ExitError](session.Run("sum"))
	require.True(t, ok)
	require.Equal(t, 7, failed.ExitStatus())
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(data)), stdout.String())
	require.Equal(t, "summed up", stderr.String())
}

func TestSSHConcurrentSessions(t *testing.T) {
	client, s := connectSSH(t, 0)
	await(t, launch(20, func(i int) error {
		return runCat(client, pattern(i*30_000, uint64(i)))
	}))
	require.EqualValues(t, 1, s.listener.accepted.Load())
}

func TestSSHKeepAlive(t *testing.T) {
	client, _ := connectSSH(t, 0)
	for range 10 {
		ok, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		require.NoError(t, err)
		require.True(t, ok)
	}
	ok, _, err := client.SendRequest("other@example.com", true, nil)
	require.NoError(t, err)
	require.False(t, ok)
}

// TestSSHForward dials through the server, from uTP to uTP.
func TestSSHForward(t *testing.T) {
	client, _ := connectSSH(t, 0)
	// It answers after the end of what it is sent: that has to come through.
	target := serve(t, func(c net.Conn) {
		defer c.Close()
		got, err := io.ReadAll(c)
		if err == nil {
			c.Write(got)
		}
	})
	await(t, launch(5, func(i int) error {
		c, err := client.Dial("tcp", target.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		data := pattern(500_000, uint64(i))
		if _, err := c.Write(data); err != nil {
			return err
		}
		if err := closeWrite(c); err != nil {
			return err
		}
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(data, got) {
			err = fmt.Errorf("sent %d bytes, received %d others", len(data), len(got))
		}
		return err
	}))

	closed := listen(t)
	require.NoError(t, closed.Close())
	_, err := client.Dial("tcp", closed.Addr().String())
	require.ErrorContains(t, err, "refused")
}

// TestSSHClose closes the client while sessions are under way: all that waits for
// them is told, on both sides.
func TestSSHClose(t *testing.T) {
	client, s := connectSSH(t, 0)
	var ended []<-chan error
	for range 5 {
		session, err := client.NewSession()
		require.NoError(t, err)
		stdout, err := session.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, session.Start("hang"))
		_, err = io.ReadFull(stdout, make([]byte, len("hanging")))
		require.NoError(t, err)
		ended = append(ended, start(session.Wait))
	}
	ended = append(ended, start(client.Wait))
	require.NoError(t, client.Close())
	for _, e := range ended {
		require.Error(t, receiveWithin(t, prompt, e, "a session to end"))
	}
	require.Error(t, receiveWithin(t, prompt, s.ended, "the server to notice"))
}
