package utp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

// Tests of ReadFrom and WriteTo.

func TestCopyIsExact(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		size   int
		reader func(io.Reader) io.Reader
	}{
		{"nothing", 0, nil},
		{"one byte", 1, nil},
		{"whole chunks", 1 << 20, nil},
		{"odd size", 1<<20 + 12345, nil},
		{"short reads", 300_000, iotest.HalfReader},
		{"byte by byte", 5_000, iotest.OneByteReader},
		{"data together with EOF", 100_000, iotest.DataErrReader},
		{"reads of nothing", 100_000, func(r io.Reader) io.Reader { return &lazyReader{r: r} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, nil)
				c, d := p.connect()
				sent := pattern(tc.size)
				var r io.Reader = bytes.NewReader(sent)
				if tc.reader != nil {
					r = tc.reader(r)
				}
				var got bytes.Buffer
				writeTo := runAsync(t, func() (int64, error) { return d.WriteTo(&got) })
				n, err := c.ReadFrom(r)
				require.NoError(t, err, "the end of r is the end of the copy, not of the stream")
				require.EqualValues(t, tc.size, n)
				k, err := c.Write([]byte("and more"))
				require.NoError(t, err)
				require.NoError(t, c.Close())
				n, err = writeTo.settled()
				require.NoError(t, err, "the end of the stream is success")
				require.EqualValues(t, tc.size+k, n)
				require.True(t, bytes.Equal(append(sent, "and more"...), got.Bytes()))
			})
		})
	}
}

// lazyReader returns nothing, and no error, every other time.
type lazyReader struct {
	r    io.Reader
	lazy bool
}

func (l *lazyReader) Read(b []byte) (int, error) {
	if l.lazy = !l.lazy; l.lazy {
		return 0, nil
	}
	return l.r.Read(b)
}

func TestReadFromTimesWhatItSent(t *testing.T) {
	everyRole(t, &Config{KeepAlive: -1}, func(t *testing.T, p *peer) {
		p.settle()
		r, w := io.Pipe()
		copied := runAsync(t, func() (int64, error) { return p.conn.ReadFrom(r) })
		w.Write([]byte("first"))
		p.lose("what was read leaves before the reader goes on", packet{typ: wire.Data, seq: 1, payload: "first", by: byUser})
		p.advance(time.Second)
		p.want("and is sent again while the reader waits", packet{typ: wire.Data, seq: 1, payload: "first", by: byTimer})
		w.Close()
		require.EqualValues(t, 5, copied.value("the reader has ended"))
	})
}

// pipe is a reader that the test feeds.
func (p *peer) pipe() (r *io.PipeReader, feed func(string)) {
	r, w := io.Pipe()
	p.t.Cleanup(func() { w.Close() })
	return r, func(s string) {
		go w.Write([]byte(s))
		synctest.Wait()
	}
}

func (p *peer) readFrom(r io.Reader) *async[int64] {
	return runAsync(p.t, func() (int64, error) { return p.conn.ReadFrom(r) })
}

func (p *peer) writeTo(w io.Writer) *async[int64] {
	return runAsync(p.t, func() (int64, error) { return p.conn.WriteTo(w) })
}

func TestReadFromBrokenReader(t *testing.T) {
	broken := errors.New("broken reader")
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"error after data":         func(r io.Reader) io.Reader { return r },
		"error together with data": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			everyRole(t, nil, func(t *testing.T, p *peer) {
				n, err := p.conn.ReadFrom(wrap(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken))))
				require.EqualValues(t, 3, n, "what came before the error counts")
				p.wantError(err, "readfrom", broken, "as a TCPConn returns it")
				p.want("it is sent", packet{typ: wire.Data, payload: "abc"})
				p.recv(packet{typ: wire.State})
				p.write("def")
				p.want("writing goes on", packet{typ: wire.Data, payload: "def"})
			})
		})
	}
}

func TestReadFromPanickingReader(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		require.PanicsWithValue(t, "broken reader", func() { p.conn.ReadFrom(panicker{}) }, "a panic can be recovered")
		require.NoError(t, p.write("still alive").err("the lock, and the turn to write, were passed on"))
		p.want("writing goes on", packet{typ: wire.Data, payload: "still alive"})
	})
}

type panicker struct{}

func (panicker) Read([]byte) (int, error)  { panic("broken reader") }
func (panicker) Write([]byte) (int, error) { panic("broken writer") }

func TestReadFromIsInterrupted(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event func(p *peer)
		want  error
	}{
		{"CloseWrite", func(p *peer) { p.conn.CloseWrite() }, syscall.EPIPE},
		{"Close", func(p *peer) { p.conn.Close() }, net.ErrClosed},
		{"RESET", func(p *peer) { p.reset() }, syscall.EPIPE},
		{"deadline", func(p *peer) { p.conn.SetWriteDeadline(time.Now()) }, os.ErrDeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			everyRole(t, nil, func(t *testing.T, p *peer) {
				r, feed := p.pipe()
				copied := p.readFrom(r)
				feed("hello")
				p.want("what was read leaves", packet{typ: wire.Data, payload: "hello"})
				tc.event(p)
				p.drain()
				copied.wantNotDone("the reader does not know")
				feed("too late")
				n, err := copied.result()
				require.EqualValues(t, 5, n, "bytes that were read, but not taken, do not count")
				p.wantError(err, "readfrom", tc.want, tc.name)
				p.wantNothing("nor are they sent")
			})
		})
	}
}

func TestReadFromHoldsNobodyUp(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		r, feed := p.pipe()
		copied := p.readFrom(r)
		copied.wantNotDone("the reader waits")
		require.NoError(t, p.write("meanwhile").err("a source that is quiet is not in the way of others"))
		p.want("they write", packet{typ: wire.Data, payload: "meanwhile"})
		p.recv(packet{typ: wire.State})
		feed("at last")
		p.want("and so does it", packet{typ: wire.Data, payload: "at last"})
		r.Close()
		require.Error(t, copied.err("the reader is closed"))
	})
}

func TestReadFromEndsInAnyState(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		n, err := p.conn.ReadFrom(strings.NewReader(""))
		require.Zero(t, n)
		require.NoError(t, err)
		require.NoError(t, p.conn.CloseWrite())
		p.want("CloseWrite sends a FIN", packet{typ: wire.Fin})
		_, err = p.conn.ReadFrom(strings.NewReader(""))
		p.wantError(err, "readfrom", syscall.EPIPE, "our stream has ended")
	})
}

func TestReadFromWaitsForRoom(t *testing.T) {
	everyRole(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
		sent := pattern(300_000)
		copied := p.readFrom(bytes.NewReader(sent))
		var got []byte
		for most := 0; len(got) < len(sent); {
			piece := p.drain()
			most = max(most, p.conn.Stats().SendBuffered)
			require.LessOrEqual(t, most, 64<<10+4096, "a chunk more than the buffer at the most")
			got = append(got, piece...)
			p.advance(rtt)
			p.recv(packet{typ: wire.State})
		}
		require.EqualValues(t, len(sent), copied.value("all was read"))
		require.True(t, bytes.Equal(sent, got))
		require.Zero(t, p.conn.Stats().SendBuffered)
		copied = p.readFrom(bytes.NewReader(sent))
		copied.wantNotDone("the buffer is full")
		p.drain()
		p.reset()
		require.Error(t, copied.err("a RESET interrupts it"))
	})
}

func TestReadFromKeepsTheBufferFilled(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		sent := pattern(400_000)
		r := bytes.NewReader(sent)
		copied := p.readFrom(r)
		for got := 0; got < len(sent); {
			p.advance(rtt)
			got += len(p.drain())
			p.recv(packet{typ: wire.State})
			read := len(sent) - r.Len()
			require.True(t, r.Len() == 0 || read-got >= 48<<10, "with %d bytes acknowledged only %d were read", got, read)
		}
		require.EqualValues(t, len(sent), copied.value("all was read"))
	})
}

func TestWriteTo(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		var got bytes.Buffer
		copied := p.writeTo(&got)
		p.recv(packet{typ: wire.Data, payload: "hello "}, packet{typ: wire.Data, payload: "world"})
		p.want("two packets are acknowledged", packet{typ: wire.State, ack: 2})
		copied.wantNotDone("the stream goes on")
		require.Equal(t, "hello world", got.String())
		p.recv(packet{typ: wire.Data, payload: "!"}, packet{typ: wire.Fin})
		p.want("the FIN is acknowledged", packet{typ: wire.State, ack: 4})
		require.EqualValues(t, 12, copied.value("the end of the stream is success"))
		require.Equal(t, "hello world!", got.String())
		require.Zero(t, p.writeTo(&got).value("there is nothing more"))
		p.wantEOF("it stays at its end")
	})
}

// shortWriter writes less than it should, without an error.
type shortWriter struct{ n int }

func (w shortWriter) Write([]byte) (int, error) { return w.n, nil }

type brokenWriter struct {
	n   int
	err error
}

func (w brokenWriter) Write([]byte) (int, error) { return w.n, w.err }

func TestWriteToBrokenWriter(t *testing.T) {
	broken := errors.New("broken writer")
	for _, tc := range []struct {
		name string
		w    io.Writer
		n    int64
		want error
	}{
		{"error", brokenWriter{2, broken}, 2, broken},
		{"short write", shortWriter{3}, 3, io.ErrShortWrite},
	} {
		t.Run(tc.name, func(t *testing.T) {
			everyRole(t, nil, func(t *testing.T, p *peer) {
				p.recv(packet{typ: wire.Data, payload: "hello"}, packet{typ: wire.Data, payload: " world"})
				p.want("two packets are acknowledged", packet{typ: wire.State, ack: 2})
				n, err := p.conn.WriteTo(tc.w)
				require.Equal(t, tc.n, n, "what the writer took counts")
				p.wantError(err, "writeto", tc.want, "as a TCPConn returns it")
				p.recv(packet{typ: wire.Data, payload: "more"})
				p.mustRead("more")
				p.advance(25 * time.Millisecond)
				p.want("reading goes on", packet{typ: wire.State, ack: 3})
			})
		})
	}
	t.Run("panic", func(t *testing.T) {
		everyRole(t, nil, func(t *testing.T, p *peer) {
			p.recv(packet{typ: wire.Data, payload: "hello"})
			require.PanicsWithValue(t, "broken writer", func() { p.conn.WriteTo(panicker{}) }, "a panic can be recovered")
			p.recv(packet{typ: wire.Data, payload: "more"})
			p.mustRead("more")
			p.want("reading goes on", packet{typ: wire.State, ack: 2})
		})
	})
}

func TestWriteToIsInterrupted(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event func(p *peer)
		want  error
	}{
		{"Close", func(p *peer) { p.conn.Close() }, net.ErrClosed},
		{"RESET", func(p *peer) { p.reset() }, syscall.ECONNRESET},
		{"deadline", func(p *peer) { p.conn.SetReadDeadline(time.Now()) }, os.ErrDeadlineExceeded},
	} {
		for _, busy := range []bool{false, true} {
			t.Run(tc.name+map[bool]string{false: " while reading", true: " while writing"}[busy], func(t *testing.T) {
				everyRole(t, nil, func(t *testing.T, p *peer) {
					r, w := io.Pipe()
					defer w.Close()
					copied := p.writeTo(w)
					p.recv(packet{typ: wire.Data, payload: "hello"})
					b := make([]byte, 5)
					if !busy {
						io.ReadFull(r, b)
					}
					tc.event(p)
					p.drain()
					if busy {
						copied.wantNotDone("the writer does not know")
						io.ReadFull(r, b)
					}
					n, err := copied.result()
					require.EqualValues(t, 5, n)
					require.Equal(t, "hello", string(b))
					p.wantError(err, "writeto", tc.want, tc.name)
					p.quiet = true // the acknowledgement
				})
			})
		}
	}
}

func TestWriteToReadsDataBeforeReset(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		p.recv(packet{typ: wire.Data, payload: "last words"})
		p.reset()
		var got bytes.Buffer
		n, err := p.conn.WriteTo(&got)
		require.EqualValues(t, 10, n)
		p.wantError(err, "writeto", syscall.ECONNRESET, "RESET")
		require.Equal(t, "last words", got.String())
	})
}

func TestCopyBetweenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, q := newPair(t, nil), newPair(t, nil)
		in, proxyIn := p.connect()
		proxyOut, out := q.connect()
		go func() {
			io.Copy(proxyOut, proxyIn)
			proxyOut.CloseWrite()
		}()
		sent := pattern(500_000)
		go func() {
			in.Write(sent)
			in.CloseWrite()
		}()
		got, err := io.ReadAll(out)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got))
	})
}
