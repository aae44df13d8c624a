package utp

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func newReadyList() *readyList {
	r := new(readyList)
	r.init()
	return r
}

func TestReadyListIsAQueue(t *testing.T) {
	r := newReadyList()
	a, b, c := new(Conn), new(Conn), new(Conn)
	next := func() *Conn {
		t.Helper()
		buf, c, ok := r.next(nil)
		require.True(t, ok)
		require.Empty(t, buf)
		return c
	}
	r.push(a)
	r.push(b)
	r.push(a)
	require.Same(t, a, next())
	r.push(c)
	r.push(a)
	require.Same(t, b, next(), "first come, first served")
	require.Same(t, c, next())
	require.Same(t, a, next(), "once, however often it was pushed")
	r.push(b)
	require.Same(t, b, next())
	require.False(t, r.idleLocked(), "the sender is at work")
}

func TestReadyListAnswersComeFirst(t *testing.T) {
	r := newReadyList()
	c := new(Conn)
	r.push(c)
	for i := range maxControl {
		require.True(t, r.pushControl(control{len: uint8(i)}))
	}
	require.False(t, r.pushControl(control{}), "so many may wait")
	buf, got, ok := r.next(nil)
	require.True(t, ok)
	require.Nil(t, got)
	require.Len(t, buf, maxControl)
	for i, a := range buf {
		require.Equal(t, uint8(i), a.len, "in order")
	}
	require.True(t, r.pushControl(control{}), "there is room again")
	_, _, _ = r.next(nil)
	_, got, _ = r.next(nil)
	require.Same(t, c, got)
}

func TestReadyListClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadyList()
		next := runAsync(t, func() (bool, error) {
			_, _, ok := r.next(nil)
			return ok, nil
		})
		next.wantNotDone("there is no work")
		r.close()
		require.False(t, next.value("the list is closed"))
		r.push(new(Conn))
		require.False(t, r.pushControl(control{}))
		_, _, ok := r.next(nil)
		require.False(t, ok, "it stays closed")
		require.True(t, r.drain(func() bool { return true }), "there is nothing to wait for")
	})
}

func TestReadyListDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadyList()
		require.True(t, r.drain(func() bool { return false }), "it is empty")
		r.push(new(Conn))
		require.False(t, r.drain(func() bool { return false }), "nobody waits")

		waiting := true // guarded by r.mu
		drain := func() *async[bool] {
			return runAsync(t, func() (bool, error) { return r.drain(func() bool { return waiting }), nil })
		}
		d := drain()
		d.wantNotDone("a connection waits")
		r.next(nil)
		d.wantNotDone("the sender is at work with it")
		sender := runAsync(t, func() (bool, error) {
			_, _, ok := r.next(nil)
			return ok, nil
		})
		require.True(t, d.value("it asks for more work: the last is done"))

		r.push(new(Conn))
		sender.value("there is work")
		d = drain()
		d.wantNotDone("the sender is at work")
		r.mu.Lock()
		waiting = false
		r.mu.Unlock()
		d.wantNotDone("it has not been asked again")
		r.poke()
		require.False(t, d.value("now it gives up"))
	})
}
