package sandbox

import (
	"fmt"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

// Server is one service with its world: chain, nodes, wallets, counterparty. Its methods are safe for concurrent use; each of them,
// and each request, first does what has fallen due.
type Server struct {
	opts   Options
	params *chaincfg.Params

	mu sync.Mutex
	// during is the instant of the event that is being done; zero outside of events.
	during time.Time
	*world
}

// world is all that Reset makes anew.
type world struct {
	entropy *entropy
	agenda  *agenda
	chain   *chain.Chain
	ledger  *ledger
	payee   *counterparty
	faults  *faultTable
	// The next three are the service's lasting storage; what a restart loses is in memory.
	wallets     map[string]*wallet
	walletOrder []*wallet
	nodes       []*node
	memory      *memory
	// listing says whether listpayments answers.
	listing bool
}

// New returns a server whose world starts now. It panics on what Options.Validate reports.
func New(opts Options) *Server {
	if err := opts.Validate(); err != nil {
		panic(fmt.Sprintf("sandbox: %v", err))
	}
	s := &Server{opts: opts.withDefaults()}
	s.params, _ = s.opts.Network.Params() // Validate has seen it
	s.Reset()
	return s
}

// Options returns the options in force, defaults filled in.
func (s *Server) Options() Options { return s.opts }

// Reset makes the world anew, as New did: no wallets, no money moved, no faults, the same seed.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world = &world{
		entropy: newEntropy(s.opts.Seed),
		agenda:  &agenda{},
		chain:   chain.New(s.params),
		ledger:  &ledger{},
		payee:   newCounterparty(),
		faults:  &faultTable{},
		wallets: map[string]*wallet{},
		memory:  newMemory(),
		listing: s.opts.Profile == Documented,
	}
	if s.opts.Profile == Reference {
		s.addNode("node")
	}
	s.chain.Mine(1, s.now())
	if s.opts.Timing.Settle > 0 {
		s.scheduleSettle(s.world)
	}
}

// Restart restarts the service: receive ids, begun requests, on-chain sends and the table that merges equal sends are gone. Chain,
// nodes, registered wallets and the ledger stay.
func (s *Server) Restart() {
	s.lock()
	defer s.unlock()
	s.memory = newMemory()
}

// Advance does everything that has fallen due by the clock, in the order of its instants. Requests do so by themselves; call it to
// let time pass without one.
func (s *Server) Advance() {
	s.lock()
	s.unlock()
}

// NextEvent returns when Advance will have something to do; ok is false where nothing is planned.
func (s *Server) NextEvent() (at time.Time, ok bool) {
	s.lock()
	defer s.unlock()
	return s.agenda.next()
}

// Now returns the sandbox's instant.
func (s *Server) Now() time.Time { return s.opts.Clock.Now().UTC() }

func (s *Server) lock() {
	s.mu.Lock()
	s.doDue()
}

func (s *Server) unlock() { s.mu.Unlock() }

func (s *Server) doDue() {
	for {
		e, ok := s.agenda.due(s.Now())
		if !ok {
			break
		}
		s.during = e.at
		e.do()
	}
	s.during = time.Time{}
}

// now is the instant at which the current event falls due, however late it is done, or the clock's. Callers hold the lock.
func (s *Server) now() time.Time {
	if !s.during.IsZero() {
		return s.during
	}
	return s.Now()
}

// after plans do for d from now. Callers hold the lock.
func (s *Server) after(d time.Duration, do func()) { s.agenda.at(s.now().Add(max(d, 0)), do) }

// confirmSoon plans the block that confirms what waits in the mempool.
func (s *Server) confirmSoon() {
	if s.opts.Timing.Block > 0 {
		s.after(s.opts.Timing.Block, func() {
			if len(s.chain.Mempool()) > 0 { // else an earlier block took it along
				s.mine(1)
			}
		})
	}
}

// Mine adds n blocks to the chain.
func (s *Server) Mine(n int) []chain.Block {
	s.lock()
	defer s.unlock()
	return s.mine(n)
}

func (s *Server) mine(n int) []chain.Block {
	blocks := s.chain.Mine(n, s.now())
	s.completeSends()
	return blocks
}

// Height returns the height of the chain.
func (s *Server) Height() int32 {
	s.lock()
	defer s.unlock()
	return s.chain.Height()
}

// grant gives a wallet or node confirmed coins: money from outside.
func (s *Server) grant(w *chain.Wallet, owner string, colored bool, count int, value amount.Sat) error {
	coins, err := w.Fund(s.chain, colored, count, value, s.now())
	for _, coin := range coins {
		s.ledger.add(Entry{At: s.now(), Kind: OnchainIn, Key: coin.Hash.String(), Txid: coin.Hash.String(), Wallet: owner, AmountSats: value})
	}
	return err
}
