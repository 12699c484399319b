package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
)

// Kind says what sort of movement an Entry is.
type Kind string

// The kinds of movement.
const (
	LightningOut Kind = "lightning-out" // a payment reached its payee
	LightningIn  Kind = "lightning-in"  // an invoice of ours was paid
	OnchainOut   Kind = "onchain-out"   // a send was broadcast
	OnchainIn    Kind = "onchain-in"    // coins came in from outside: funding, deposits
	ChannelOpen  Kind = "channel-open"  // the node moved coins into a channel
	ChannelClose Kind = "channel-close" // and back
)

// Asset is an amount of an RGB asset in its smallest unit.
type Asset struct {
	ID     string `json:"asset_id"`
	Amount int64  `json:"amount"`
}

// Evidence is what the ledger keeps of the signed PSBT that set a movement off.
type Evidence struct {
	// Txid of the PSBT, hex. It is the same signed and unsigned.
	Txid string `json:"txid"`
	// Asked says that it is the transaction that the wallet's last begin answered.
	Asked bool `json:"asked"`
	// Valid says that the chain would take it: signatures of the wallet's own unspent coins, verified by the script engine.
	Valid bool `json:"valid"`
	// Problem says why it is not Valid.
	Problem string `json:"problem,omitempty"`
	// FeeSats is the transaction's fee where it is Valid.
	FeeSats amount.Sat `json:"fee_sats"`
}

// Entry is one movement that really happened. Entries are never changed or removed, also not by a restart.
type Entry struct {
	Seq  int       `json:"seq"`
	At   time.Time `json:"at"`
	Kind Kind      `json:"kind"`
	// Key is the payment hash (hex) of a Lightning movement, the OrderKey of an on-chain send, else a txid.
	Key string `json:"key"`
	// Wallet is the xpub-van of the wallet that caused the movement; empty where the service itself did.
	Wallet string `json:"wallet,omitempty"`
	// Destination is the payee's public key (hex), the address or the RGB invoice.
	Destination string `json:"destination,omitempty"`
	// AmountSats is what arrived, in sat; of an asset movement what went with it.
	AmountSats amount.Sat `json:"amount_sats"`
	Asset      *Asset     `json:"asset,omitempty"`
	// FeeSats is what it cost on top: routing fee or transaction fee.
	FeeSats amount.Sat `json:"fee_sats"`
	// SendID is the id under which the API speaks of it: payment hash, send id, receive id.
	SendID string `json:"send_id,omitempty"`
	// Txid is the transaction on the sandbox's chain that moved the coins; empty for Lightning.
	Txid string    `json:"txid,omitempty"`
	PSBT *Evidence `json:"psbt,omitempty"`
	// Begin is the Request.Begin of the begin call whose order this is; 0 where there was none.
	Begin int `json:"begin,omitempty"`
}

// Request is one call of the API as the service saw it, or as a fault kept it from seeing it.
type Request struct {
	Seq       int       `json:"seq"`
	At        time.Time `json:"at"`
	Operation Operation `json:"operation,omitempty"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Wallet    string    `json:"wallet,omitempty"`
	// Begin numbers the begin calls that took effect, from 1, over all wallets. At an end it is the begin whose order was executed.
	Begin int `json:"begin,omitempty"`
	// Effect says what the call did; empty for nothing.
	Effect Effect `json:"effect,omitempty"`
	// Key names what the effect was on: payment hash, send id, receive id.
	Key string `json:"key,omitempty"`
	// Status is the HTTP status of the service's own answer, whatever a fault made of it; 0 where there is none.
	Status int `json:"status,omitempty"`
	// Fault is the kind of the fault that hit the call.
	Fault FaultKind `json:"fault,omitempty"`
	// Repeat marks the second entry of a call that a fault delivered late or twice.
	Repeat bool `json:"repeat,omitempty"`
	// Foreign marks a call that another client of the wallet made, by a fault or by ForeignBegin.
	Foreign bool `json:"foreign,omitempty"`
}

// Effect says what a request did.
type Effect string

// The effects of requests.
const (
	EffectRegistered Effect = "registered" // the wallet is new
	EffectCreated    Effect = "created"    // an invoice was made
	EffectBegan      Effect = "began"      // the wallet's one slot holds this order now
	EffectPaid       Effect = "paid"       // a payment is under way; the ledger says whether it arrives
	EffectFailed     Effect = "failed"     // a payment failed at once, in a regular answer
	EffectSent       Effect = "sent"       // a new on-chain send was taken on
	EffectMerged     Effect = "merged"     // answered with a send that existed already
	EffectSettled    Effect = "settled"    // channels were opened
)

// OrderKey is the Key of an on-chain send: the SHA-256, in hex, of what the reference server tells orders apart by. assetID is empty
// and assetAmount 0 for bitcoin.
func OrderKey(destination string, sats amount.Sat, assetID string, assetAmount int64, feeRate amount.SatPerVByte) string {
	text := fmt.Sprintf("%s|%d|%s|%d|%d", destination, sats, assetID, assetAmount, feeRate)
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])
}

// ledger keeps entries and requests.
type ledger struct {
	entries  []Entry
	requests []Request
	begins   int
}

func (l *ledger) add(e Entry) {
	e.Seq = len(l.entries) + 1
	l.entries = append(l.entries, e)
}

// log enters r and returns its place, by which it can still be amended.
func (l *ledger) log(r Request) int {
	r.Seq = len(l.requests) + 1
	l.requests = append(l.requests, r)
	return len(l.requests) - 1
}

// Ledger returns every movement so far, oldest first.
func (s *Server) Ledger() []Entry {
	s.lock()
	defer s.unlock()
	return slices.Clone(s.ledger.entries)
}

// Moved returns the outgoing movements of key, a payment hash or an OrderKey: what must never be more than one.
func (s *Server) Moved(key string) []Entry {
	var moved []Entry
	for _, entry := range s.Ledger() {
		if entry.Key == key && (entry.Kind == LightningOut || entry.Kind == OnchainOut) {
			moved = append(moved, entry)
		}
	}
	return moved
}

// Requests returns every call of the API so far, oldest first.
func (s *Server) Requests() []Request {
	s.lock()
	defer s.unlock()
	return slices.Clone(s.ledger.requests)
}
