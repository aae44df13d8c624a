package consumers

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// sshServer is an SSH server with the commands "cat", "sum" and "hang", which
// also forwards connections.
type sshServer struct {
	config   *ssh.ServerConfig
	listener *listener
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	hostKey  ssh.PublicKey
	ended    chan error // what ended each connection
}

const (
	sshUser     = "gopher"
	sshPassword = "secret"
	sshBanner   = "be welcome\n"
)

// serveSSH serves until the test ends. Users log in with the password or a key.
func serveSSH(t testing.TB, userKey ssh.PublicKey) *sshServer {
	t.Helper()
	hostKey := newSSHKey(t)
	s := &sshServer{
		dial:    open(t).DialContext,
		hostKey: hostKey.PublicKey(),
		ended:   make(chan error, 10),
		config: &ssh.ServerConfig{
			PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
				if c.User() == sshUser && string(password) == sshPassword {
					return nil, nil
				}
				return nil, errors.New("wrong password")
			},
			PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
				if c.User() == sshUser && string(key.Marshal()) == string(userKey.Marshal()) {
					return nil, nil
				}
				return nil, errors.New("unknown key")
			},
			BannerCallback: func(ssh.ConnMetadata) string { return sshBanner },
		},
	}
	s.config.AddHostKey(hostKey)
	s.listener = serve(t, func(c net.Conn) { s.ended <- s.handle(c) })
	return s
}

func newSSHKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	return signer
}

// handle serves one connection until it ends.
func (s *sshServer) handle(c net.Conn) error {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return err
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() {
		for r := range requests {
			r.Reply(r.Type == "keepalive@openssh.com", nil)
		}
	})
	for request := range channels {
		switch request.ChannelType() {
		case "session":
			tasks.Go(func() { s.session(request) })
		case "direct-tcpip":
			tasks.Go(func() { s.forward(request) })
		default:
			request.Reject(ssh.UnknownChannelType, "no such channel type")
		}
	}
	return conn.Wait()
}

// session runs the command of a session.
func (s *sshServer) session(request ssh.NewChannel) {
	channel, requests, err := request.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	for r := range requests {
		var exec struct{ Command string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &exec) != nil {
			r.Reply(false, nil)
			continue
		}
		r.Reply(true, nil)
		status := struct{ Status uint32 }{}
		switch exec.Command {
		case "cat":
			io.Copy(channel, channel)
		case "sum":
			sum := sha256.New()
			io.Copy(sum, channel)
			fmt.Fprintf(channel, "%x", sum.Sum(nil))
			io.WriteString(channel.Stderr(), "summed up")
			status.Status = 7
		case "hang":
			io.WriteString(channel, "hanging")
			for range requests { // until the channel is closed
			}
			return
		}
		channel.CloseWrite()
		channel.SendRequest("exit-status", false, ssh.Marshal(&status))
		return
	}
}

// forward connects a channel with an address, over uTP again.
func (s *sshServer) forward(request ssh.NewChannel) {
	var to struct {
		Host     string
		Port     uint32
		FromHost string
		FromPort uint32
	}
	if err := ssh.Unmarshal(request.ExtraData(), &to); err != nil {
		request.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := s.dial(ctx, "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		request.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer c.Close()
	channel, requests, err := request.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	go ssh.DiscardRequests(requests)
	back := start(func() error {
		_, err := io.Copy(channel, c)
		return errors.Join(err, channel.CloseWrite())
	})
	io.Copy(c, channel)
	closeWrite(c)
	<-back
}
