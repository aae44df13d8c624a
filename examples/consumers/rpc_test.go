package consumers

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"testing"

	"github.com/stretchr/testify/require"
)

// RPCTest is a service for net/rpc.
type RPCTest struct{ arrived, release chan struct{} }

// RPCArgs is what its methods are called with.
type RPCArgs struct {
	Number int
	Data   []byte
}

// RPCReply is what they return.
type RPCReply struct {
	Number int
	Sum    [sha256.Size]byte
	Data   []byte
}

// Turn returns the data back to front, with its checksum.
func (*RPCTest) Turn(args *RPCArgs, reply *RPCReply) error {
	if args.Number < 0 {
		return fmt.Errorf("%d is below zero", args.Number)
	}
	reply.Number = args.Number
	reply.Sum = sha256.Sum256(args.Data)
	reply.Data = turned(args.Data)
	return nil
}

// Hold returns when it is released.
func (s *RPCTest) Hold(*RPCArgs, *RPCReply) error {
	s.arrived <- struct{}{}
	<-s.release
	return nil
}

func turned(b []byte) []byte {
	r := make([]byte, len(b))
	for i, x := range b {
		r[len(b)-1-i] = x
	}
	return r
}

// rpcCodecs are the two encodings that net/rpc has.
var rpcCodecs = []struct {
	name      string
	serve     func(*rpc.Server, io.ReadWriteCloser)
	newClient func(io.ReadWriteCloser) *rpc.Client
}{
	{"gob", (*rpc.Server).ServeConn, rpc.NewClient},
	{"JSON", func(s *rpc.Server, c io.ReadWriteCloser) { s.ServeCodec(jsonrpc.NewServerCodec(c)) }, jsonrpc.NewClient},
}

// TestRPC calls many methods at once over one connection.
func TestRPC(t *testing.T) {
	for _, codec := range rpcCodecs {
		t.Run(codec.name, func(t *testing.T) {
			server := rpc.NewServer()
			require.NoError(t, server.Register(new(RPCTest)))
			l := serve(t, func(c net.Conn) { codec.serve(server, c) })
			client := codec.newClient(dial(t, l.Addr()))
			await(t, launch(200, func(i int) error {
				for j := range 10 {
					args := &RPCArgs{Number: i, Data: pattern(100*j*j, uint64(i*10+j))}
					var reply RPCReply
					if err := client.Call("RPCTest.Turn", args, &reply); err != nil {
						return err
					}
					if reply.Number != i || reply.Sum != sha256.Sum256(args.Data) || !bytes.Equal(reply.Data, turned(args.Data)) {
						return fmt.Errorf("the reply belongs to another call")
					}
				}
				return nil
			}))
			require.EqualError(t, client.Call("RPCTest.Turn", &RPCArgs{Number: -1}, new(RPCReply)), "-1 is below zero")
			require.NoError(t, client.Close())
		})
	}
}

// TestRPCClose closes a client that waits for a reply: its Read has to return.
func TestRPCClose(t *testing.T) {
	for _, codec := range rpcCodecs {
		t.Run(codec.name, func(t *testing.T) {
			service := &RPCTest{make(chan struct{}), make(chan struct{})}
			server := rpc.NewServer()
			require.NoError(t, server.Register(service))
			ended := make(chan struct{})
			l := serve(t, func(c net.Conn) {
				codec.serve(server, c)
				close(ended)
			})
			client := codec.newClient(dial(t, l.Addr()))
			called := start(func() error { return client.Call("RPCTest.Hold", new(RPCArgs), new(RPCReply)) })
			receive(t, service.arrived, "the call")
			require.NoError(t, client.Close())
			require.ErrorIs(t, receiveWithin(t, prompt, called, "the call to end"), net.ErrClosed)
			close(service.release)
			receiveWithin(t, prompt, ended, "the server to notice")
		})
	}
}
