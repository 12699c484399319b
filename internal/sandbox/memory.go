package sandbox

import (
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
)

// memory is what the service holds in its process and loses in a restart.
type memory struct {
	receives map[string]*receive
	pays     map[string]*begunPayment // by xpub-van
	sends    map[string]*begunSend    // by xpub-van
	// taken holds the on-chain sends by id, merged the reference server's table of equal orders.
	taken  map[string]*send
	merged map[mergeKey]*send
	// deposits holds the address that was handed out: by xpub-van, or under "" where all wallets share one.
	deposits map[string]*deposit
}

func newMemory() *memory {
	return &memory{
		receives: map[string]*receive{},
		pays:     map[string]*begunPayment{},
		sends:    map[string]*begunSend{},
		taken:    map[string]*send{},
		merged:   map[mergeKey]*send{},
		deposits: map[string]*deposit{},
	}
}

// receive is an invoice by the id that create-invoice gave it. The node knows it by its hash only.
type receive struct {
	id      string
	hash    string
	wallet  *wallet
	created time.Time
}

// begunPayment is a wallet's one slot for Lightning payments.
type begunPayment struct {
	begin   int // number of the begin call
	invoice string
	maxFee  amount.Sat
	txid    txid // of the PSBT that was answered
}

// begunSend is a wallet's one slot for on-chain sends.
type begunSend struct {
	begin int
	order order
	txid  txid
	// sendID is set once end took the order on: the documented service answers a repeated end with it.
	sendID string
}
