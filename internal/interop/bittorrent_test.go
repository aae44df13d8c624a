//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
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

// peeked is a connection of which something has been read ahead.
type peeked struct {
	io.Reader
	io.Writer
}

// peekHash returns which torrent the peer's handshake is about, and a connection where it can be read once more.
func peekHash(conn io.ReadWriter) (string, io.ReadWriter, error) {
	head := make([]byte, 48)
	_, err := io.ReadFull(conn, head)
	return fmt.Sprintf("%x", head[28:]), peeked{io.MultiReader(bytes.NewReader(head), conn), conn}, err
}

// errOtherTorrent is returned when the peer has dialled for another torrent, one that it still has.
var errOtherTorrent = errors.New("handshake: another torrent")

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
	if !bytes.HasPrefix(theirs, []byte(protocol)) {
		return nil, fmt.Errorf("handshake: %q", theirs)
	}
	if !bytes.Equal(theirs[28:48], f.hash[:]) {
		return nil, errOtherTorrent
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

// keepAlive sends a message of no length; an error shows later.
func (p *btPeer) keepAlive() {
	p.w.Write(make([]byte, 4))
	_ = p.w.Flush()
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
func (p *btPeer) fetch() error { return p.resume(newDownload(p.torrent)) }

// download is what has been fetched of a torrent, perhaps over several connections.
type download struct {
	data    []byte
	blocks  []bool // that have arrived, in order
	missing []int  // bytes of each piece
	left    int
}

func newDownload(f *torrent) *download {
	d := &download{data: make([]byte, len(f.data)), blocks: make([]bool, (len(f.data)+blockSize-1)/blockSize), left: len(f.data)}
	for i := range f.pieces() {
		d.missing = append(d.missing, f.pieceLen(i))
	}
	return d
}

// resume gets what is missing.
func (p *btPeer) resume(d *download) error {
	p.send(msgInterested)
	next, waiting, unchoked := 0, 0, false
	for d.left > 0 {
		for ; unchoked && next < len(d.blocks) && waiting < ahead; next++ {
			if !d.blocks[next] {
				at := next * blockSize
				p.send(msgRequest, at/pieceSize, at%pieceSize, min(blockSize, len(d.data)-at))
				waiting++
			}
		}
		typ, body, err := p.next()
		if err != nil {
			return fmt.Errorf("%d of %d bytes to be fetched: %w", d.left, len(d.data), err)
		}
		switch typ {
		case msgChoke:
			return fmt.Errorf("choked with %d bytes to be fetched", d.left)
		case msgUnchoke:
			unchoked = true
		case msgPiece:
			waiting--
			piece, begin := int(binary.BigEndian.Uint32(body)), int(binary.BigEndian.Uint32(body[4:]))
			if err := d.add(p.torrent, piece, begin, body[8:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// add takes a block.
func (d *download) add(f *torrent, piece, begin int, block []byte) error {
	at := piece*pieceSize + begin
	if at%blockSize != 0 || at+len(block) > len(d.data) || len(block) != min(blockSize, len(d.data)-at) || d.blocks[at/blockSize] {
		return fmt.Errorf("a block that was not asked for: piece %d, %d bytes at %d", piece, len(block), begin)
	}
	copy(d.data[at:], block)
	d.blocks[at/blockSize] = true
	d.left -= len(block)
	if d.missing[piece] -= len(block); d.missing[piece] > 0 {
		return nil
	}
	sum := sha1.Sum(d.data[piece*pieceSize:][:f.pieceLen(piece)])
	if !bytes.Equal(sum[:], f.sums[piece*sha1.Size:][:sha1.Size]) {
		return fmt.Errorf("piece %d is not what it should be", piece)
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
