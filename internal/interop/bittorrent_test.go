//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// This file is a minimal BitTorrent peer (BEP 3), over any connection: it fetches all of a torrent from a peer that has
// it, or gives all of it to one that has not.

// torrent is one file of pseudo-random bytes, all of them in memory.
type torrent struct {
	name string
	data []byte
	hash [sha1.Size]byte
	sums []byte // SHA-1 of the pieces, one after the other
	file string // the .torrent
	dir  string // where the file itself is, or is to be
}

const (
	pieceSize = 256 << 10
	blockSize = 16 << 10 // what is asked for at a time
)

// newTorrent makes a torrent; the file itself is there as well if it is the peer's to give away.
func newTorrent(t *testing.T, n int64, seed uint64, theirs bool) *torrent {
	t.Helper()
	f := &torrent{name: fmt.Sprint("f", n, "-", seed), data: random(n, seed), dir: t.TempDir()}
	for rest := f.data; len(rest) > 0; rest = rest[min(pieceSize, len(rest)):] {
		sum := sha1.Sum(rest[:min(pieceSize, len(rest))])
		f.sums = append(f.sums, sum[:]...)
	}
	info := fmt.Sprintf("d6:lengthi%de4:name%d:%s12:piece lengthi%de6:pieces%d:%se",
		n, len(f.name), f.name, pieceSize, len(f.sums), f.sums)
	f.hash = sha1.Sum([]byte(info))
	f.file = filepath.Join(f.dir, f.name+".torrent")
	require.NoError(t, os.WriteFile(f.file, []byte("d4:info"+info+"e"), 0o600))
	if theirs {
		require.NoError(t, os.WriteFile(filepath.Join(f.dir, f.name), f.data, 0o600))
	}
	return f
}

func (f *torrent) pieces() int { return len(f.sums) / sha1.Size }

func (f *torrent) pieceLen(i int) int { return min(pieceSize, len(f.data)-i*pieceSize) }

func (f *torrent) String() string { return fmt.Sprintf("%x", f.hash) }

// Messages of BEP 3.
const (
	msgChoke byte = iota
	msgUnchoke
	msgInterested
	msgNotInterested
	msgHave
	msgBitfield
	msgRequest
	msgPiece
)

// btPeer is a conversation about one torrent.
type btPeer struct {
	*torrent
	conn io.ReadWriter
	r    *bufio.Reader
	w    *bufio.Writer
}

const protocol = "\x13BitTorrent protocol"

// shake exchanges handshakes. Each of ours has another peer id, or libtorrent would take us for the one that it knows.
func shake(conn io.ReadWriter, f *torrent) (*btPeer, error) {
	p := &btPeer{torrent: f, conn: conn, r: bufio.NewReaderSize(conn, 1<<17), w: bufio.NewWriterSize(conn, 1<<17)}
	ours := append([]byte(protocol), make([]byte, 8)...)
	ours = append(ours, f.hash[:]...)
	ours = append(ours, fmt.Sprintf("-UP0000-%012x", rand.Uint64()>>16)...)
	p.w.Write(ours)
	if err := p.w.Flush(); err != nil {
		return nil, err
	}
	theirs := make([]byte, len(ours))
	if _, err := io.ReadFull(p.r, theirs); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if !bytes.HasPrefix(theirs, []byte(protocol)) || !bytes.Equal(theirs[28:48], f.hash[:]) {
		return nil, fmt.Errorf("handshake: %q", theirs)
	}
	return p, nil
}

// send buffers a message; an error shows when it is flushed.
func (p *btPeer) send(typ byte, numbers ...int) {
	p.begin(typ, 4*len(numbers))
	for _, n := range numbers {
		p.w.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
	}
}

func (p *btPeer) begin(typ byte, length int) {
	p.w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(1+length)), typ))
}

// next returns the next message, flushing ours first if there is none at hand.
func (p *btPeer) next() (typ byte, body []byte, err error) {
	for {
		if p.r.Buffered() == 0 {
			if err := p.w.Flush(); err != nil {
				return 0, nil, err
			}
		}
		head := make([]byte, 4)
		if _, err := io.ReadFull(p.r, head); err != nil {
			return 0, nil, err
		}
		n := binary.BigEndian.Uint32(head)
		if n == 0 {
			continue // a keepalive
		}
		if n > 1<<20 {
			return 0, nil, fmt.Errorf("a message of %d bytes", n)
		}
		body = make([]byte, n)
		if _, err := io.ReadFull(p.r, body); err != nil {
			return 0, nil, err
		}
		return body[0], body[1:], nil
	}
}

// ahead is how many blocks are asked for before they arrive.
const ahead = 250

// fetch gets all of the torrent from a peer that has it, and checks every piece.
func (p *btPeer) fetch() error {
	p.send(msgInterested)
	got := make([]byte, len(p.data))
	asked, arrived, unchoked := 0, 0, false
	missing := make([]int, p.pieces())
	for i := range missing {
		missing[i] = p.pieceLen(i)
	}
	for arrived < len(got) {
		for unchoked && asked < len(got) && asked-arrived < ahead*blockSize {
			n := min(blockSize, len(got)-asked)
			p.send(msgRequest, asked/pieceSize, asked%pieceSize, n)
			asked += n
		}
		typ, body, err := p.next()
		if err != nil {
			return fmt.Errorf("%d of %d bytes fetched: %w", arrived, len(got), err)
		}
		switch typ {
		case msgChoke:
			return fmt.Errorf("choked after %d bytes", arrived)
		case msgUnchoke:
			unchoked = true
		case msgPiece:
			piece, begin := int(binary.BigEndian.Uint32(body)), int(binary.BigEndian.Uint32(body[4:]))
			copy(got[piece*pieceSize+begin:], body[8:])
			arrived += len(body) - 8
			if missing[piece] -= len(body) - 8; missing[piece] > 0 {
				continue
			}
			sum := sha1.Sum(got[piece*pieceSize:][:p.pieceLen(piece)])
			if !bytes.Equal(sum[:], p.sums[piece*sha1.Size:][:sha1.Size]) {
				return fmt.Errorf("piece %d is not what it should be", piece)
			}
		}
	}
	return nil
}

// serve gives all of the torrent away, and returns when all of it has been asked for and written.
func (p *btPeer) serve() error {
	bits := make([]byte, (p.pieces()+7)/8)
	for i := range p.pieces() {
		bits[i/8] |= 0x80 >> (i % 8)
	}
	p.begin(msgBitfield, len(bits))
	p.w.Write(bits)
	p.send(msgUnchoke)
	for served := 0; served < len(p.data); {
		typ, body, err := p.next()
		if err != nil {
			return fmt.Errorf("%d of %d bytes served: %w", served, len(p.data), err)
		}
		if typ != msgRequest {
			continue
		}
		piece, begin, n := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:])
		at := int(piece)*pieceSize + int(begin)
		if at+int(n) > len(p.data) {
			return fmt.Errorf("a request beyond the end: %x", body)
		}
		p.begin(msgPiece, 8+int(n))
		p.w.Write(body[:8])
		p.w.Write(p.data[at:][:n])
		served += int(n)
	}
	return p.w.Flush()
}
