package utp

import "sync"

// waiters is where goroutines wait for a connection. It is a sync.Cond that exists
// only while somebody waits: those of an idle connection would take 112 bytes. The
// mutex of the connection guards it.
type waiters struct{ cond *sharedCond }

type sharedCond struct {
	sync.Cond
	n int // how many wait
}

// wait waits until wake is called. mu is held; pool is where conditions come from.
func (w *waiters) wait(mu *sync.Mutex, pool *sync.Pool) {
	if w.cond == nil {
		w.cond = pool.Get().(*sharedCond)
		w.cond.L = mu
	}
	w.cond.n++
	w.cond.Wait()
	if w.cond.n--; w.cond.n == 0 {
		w.cond.L = nil // the pool keeps no connection in memory
		pool.Put(w.cond)
		w.cond = nil
	}
}

// wake wakes all that wait.
func (w *waiters) wake() {
	if w.cond != nil {
		w.cond.Broadcast()
	}
}
