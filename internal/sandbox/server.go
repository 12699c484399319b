package sandbox

import (
	"fmt"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"

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
	// skipped is how far the sandbox is ahead of the clock.
	skipped time.Duration
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
		s.scheduleSettle()
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
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clockNow()
}

// Skip puts the sandbox ahead of the clock by d, on top of what was skipped before, and does what falls due on the way. Reset does not
// take it back: time does not run backwards.
func (s *Server) Skip(d time.Duration) {
	s.mu.Lock()
	s.skipped += max(d, 0)
	s.doDue()
	s.mu.Unlock()
}

func (s *Server) clockNow() time.Time { return s.opts.Clock.Now().Add(s.skipped).UTC() }

func (s *Server) lock() {
	s.mu.Lock()
	s.doDue()
}

func (s *Server) unlock() { s.mu.Unlock() }

func (s *Server) doDue() {
	for {
		e, ok := s.agenda.due(s.clockNow())
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
	return s.clockNow()
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

// FundWallet gives a registered wallet one more confirmed coin. It fails for an unknown wallet or a value that is dust.
func (s *Server) FundWallet(xpub string, colored bool, value amount.Sat) error {
	s.lock()
	defer s.unlock()
	w := s.wallets[xpub]
	if w == nil {
		return fmt.Errorf("no wallet %q is registered", xpub)
	}
	if err := checkGrant(value); err != nil {
		return err
	}
	return s.grant(w.keys, w.xpub, colored, 1, value)
}

// FundAddress lets somebody pay an address, such as one of onchain-receive. The payment is confirmed at once, or waits for a block.
func (s *Server) FundAddress(address string, value amount.Sat, confirmed bool) (txid string, err error) {
	s.lock()
	defer s.unlock()
	script, err := s.addressScript(address)
	if err == nil {
		err = checkGrant(value)
	}
	if err != nil {
		return "", err
	}
	var hash chainhash.Hash
	if confirmed {
		hash = s.chain.Grant(script, value, s.now()).Hash
	} else {
		hash = s.chain.Mint(script, value).Hash
		s.confirmSoon()
	}
	s.ledger.add(Entry{At: s.now(), Kind: OnchainIn, Key: hash.String(), Txid: hash.String(), Destination: address, AmountSats: value})
	return hash.String(), nil
}

func checkGrant(value amount.Sat) error {
	if value < 1_000 || value > amount.MaxSat/2 {
		return fmt.Errorf("%d sat: give 1,000 at least", value)
	}
	return nil
}
