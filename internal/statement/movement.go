// Package statement makes the document of what a wallet received and paid in a period, from what the service lists and what the
// operator recorded. It is pure: the same inputs give the same bytes.
//
// A document is written once and never changed. What is open at the end of its period is listed in it as that, and counts in the
// document of the period in which it succeeds.
package statement

import (
	"fmt"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/payment"
)

// State is how far a movement was at the end of the period.
type State string

// States. Only what Succeeded counts in totals.
const (
	Succeeded State = "Succeeded"
	Failed    State = "Failed"
	// Pending means that it was not over at the period's end: a payment under way, an invoice that was not paid yet.
	Pending State = "Pending"
	// Expired means an invoice that was not paid in time.
	Expired State = "Expired"
	// Unknown means that money may have moved and nobody could find out.
	Unknown State = "Unknown"
)

// isOver reports whether a movement in state moves no further by itself.
func (s State) isOver() bool { return s == Succeeded || s == Failed || s == Unknown }

// Method is how money moved.
type Method string

// Methods.
const (
	Lightning Method = "Lightning"
	// Carrier is the bitcoin that a Lightning payment of an asset carries with it.
	Carrier  Method = "LightningCarrier"
	Onchain  Method = "Onchain"
	Issuance Method = "Issuance"
)

// Origin says who knows of a movement.
type Origin string

// Origins.
const (
	// Managed is known to the service and has a record.
	Managed Origin = "Managed"
	// Unmanaged is known to the service and has no record: another client made it, or a record was lost.
	Unmanaged Origin = "Unmanaged"
	// Recorded has a record and is not in the service's list.
	Recorded Origin = "Recorded"
)

// Payment is a Lightning payment that the service lists.
type Payment struct {
	Hash    string // 64 lower-case hex digits
	Inbound bool
	// State is Succeeded, Failed or Pending.
	State       State
	AmountMsat  *int64
	AssetID     string // empty for bitcoin
	AssetAmount *int64 // in the asset's smallest unit
	Payee       string
	// CreatedAt and UpdatedAt are zero where the service did not say.
	CreatedAt, UpdatedAt time.Time
}

// TransferKind is what an on-chain transfer of an asset is.
type TransferKind int

// Transfer kinds. The zero value is a word that is not known.
const (
	TransferUnknown TransferKind = iota
	TransferIssuance
	TransferReceive
	TransferSend
)

// Transfer is an on-chain transfer of an asset that the service lists.
type Transfer struct {
	AssetID string
	Index   int64
	Kind    TransferKind
	// State is Succeeded, Failed or Pending.
	State       State
	Amount      *int64 // in the asset's smallest unit
	Txid        string
	RecipientID string
	// CreatedAt, UpdatedAt and ExpiresAt are zero where the service did not say.
	CreatedAt, UpdatedAt, ExpiresAt time.Time
}

// Record is what a statement needs of a PaymentRecord.
type Record struct {
	Name        string
	Kind        v1alpha1.RecordKind
	Wallet      v1alpha1.RecordWallet
	Holder      v1alpha1.RecordHolder
	Hash        string
	Destination string
	SendID      string
	Txid        string
	AmountSats  *int64
	Asset       *v1alpha1.AssetAmount
	FeeSats     *int64
	State       State
	// Submitted reports whether money may have moved.
	Submitted              bool
	StartedAt, CompletedAt time.Time
	// ExpiresAt is an invoice's.
	ExpiresAt time.Time

	// isOwn tells that it was made for the Wallet whose document it is.
	isOwn bool
}

// NewRecord condenses a PaymentRecord; false for one that no money moves by.
func NewRecord(from *v1alpha1.PaymentRecord) (Record, bool) {
	spec, journal := &from.Spec, &from.Journal
	record := Record{
		Name: from.Name, Kind: spec.Kind, Wallet: spec.Wallet, Holder: journal.Holder, Hash: spec.PaymentHash,
		Destination: spec.Destination, SendID: journal.RequestID, Txid: journal.SweepTxid, AmountSats: spec.AmountSats, Asset: spec.Asset,
		FeeSats: journal.FeeSats, StartedAt: from.CreationTimestamp.UTC(),
	}
	if journal.CompletedAt != nil {
		record.CompletedAt = journal.CompletedAt.UTC()
	}
	switch spec.Kind {
	case v1alpha1.RecordLightningInvoice:
		if spec.PaymentRequest == "" {
			return Record{}, false // given up before it was published
		}
		record.State, record.Destination, record.FeeSats, record.Submitted = Pending, "", new(int64(0)), true
		if journal.CompletedAt != nil && (journal.Reason == v1alpha1.ReasonSettled || journal.Reason == v1alpha1.EventUnattributedReceipt) {
			record.State = Succeeded
		}
		if issued, err := bolt11.DecodeKept(spec.PaymentRequest); err == nil {
			record.StartedAt, record.ExpiresAt = issued.Timestamp.UTC(), issued.ExpiresAt().UTC()
		}
		return record, true
	case v1alpha1.RecordLightningPayment, v1alpha1.RecordOnchainSend:
	default:
		return Record{}, false
	}
	if journal.SubmittedAt != nil {
		record.StartedAt = journal.SubmittedAt.UTC()
	} else if journal.StartedAt != nil {
		record.StartedAt = journal.StartedAt.UTC()
	}
	if journal.AmountSatsSent != nil && spec.Asset == nil {
		record.AmountSats = journal.AmountSatsSent
	}
	switch journal.Phase {
	case v1alpha1.RecordSucceeded:
		record.State, record.Submitted = Succeeded, true
	case v1alpha1.RecordUnknown:
		record.State, record.Submitted = Unknown, true
	case v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted:
		record.State, record.Submitted, record.CompletedAt = Pending, true, time.Time{}
	case v1alpha1.RecordFailed:
		record.State, record.Submitted = Failed, !payment.NeverSubmitted(journal)
	default:
		record.State = Pending
	}
	return record, true
}

// IncompleteError says what keeps a document from being complete.
type IncompleteError struct{ What string }

// Error returns one line for a person.
func (e *IncompleteError) Error() string { return "the statement would not be complete: " + e.What }

func incomplete(format string, arguments ...any) error {
	return &IncompleteError{What: fmt.Sprintf(format, arguments...)}
}

// movement is one thing that moved or was to move, before it is seen from the end of a period.
type movement struct {
	entry  Entry
	amount *int64
	// carried is the sat that went with an asset over Lightning; nil where nobody told them.
	carried                 *int64
	started, ended, expires time.Time
	state                   State
	what                    string // for a person
	ofUnknownKind           bool
}

// carries reports whether bitcoin goes with what moved.
func (m *movement) carries() bool {
	return m.entry.Method == Lightning && m.entry.Asset != v1alpha1.Bitcoin
}

// entries returns what the document of a period shows of the movement: nothing, an entry, or two.
//
//	state at hand        when                            shown as
//	over                 ended before the period         nothing; Unknown as that, until somebody resolves it
//	over                 ended in the period             its state
//	over                 ended later, started before to  Pending: it was, at the period's end
//	Pending, outgoing    started before to               Pending
//	Pending, incoming    started in the period           Pending, or Expired: an unpaid invoice is shown once
//	any                  started at to or later          nothing
func (m *movement) entries(period Period) ([]Entry, error) {
	if m.ended.IsZero() {
		m.ended = m.started
	}
	if m.started.IsZero() || m.started.After(m.ended) {
		m.started = m.ended
	}
	if m.started.IsZero() {
		return nil, incomplete("%s has no instant", m.what)
	}
	state, at := m.state, m.ended
	switch {
	case state.isOver() && !m.ended.Before(period.To), !state.isOver():
		state, at = Pending, m.started
	}
	in := m.entry.Direction == v1alpha1.DirectionIn
	if state == Pending && in && !m.expires.IsZero() && m.expires.Before(period.To) {
		state = Expired
	}
	switch {
	case !at.Before(period.To):
		return nil, nil
	case at.Before(period.From) && (state == Succeeded || state == Failed || in):
		return nil, nil
	case m.ofUnknownKind:
		return nil, incomplete("%s is of a kind that is not known", m.what)
	case m.amount != nil && *m.amount < 0, m.carried != nil && *m.carried < 0:
		return nil, incomplete("%s has a negative amount", m.what)
	case state == Succeeded && (m.amount == nil || m.carries() && m.carried == nil):
		return nil, incomplete("%s has no amount", m.what)
	}
	entry := m.entry
	entry.At, entry.StartedAt = at.UTC().Truncate(time.Second), m.started.UTC().Truncate(time.Second)
	entry.State, entry.Amount = state, m.amount
	if entry.FeeSats != nil && (*entry.FeeSats < 0 || state != Succeeded) {
		entry.FeeSats = nil // of what did not succeed there is none yet, and a negative one is none at all
	}
	if !m.carries() || m.carried == nil || *m.carried == 0 {
		return []Entry{entry}, nil
	}
	carrier := entry
	carrier.Method, carrier.Asset, carrier.Amount, carrier.FeeSats = Carrier, v1alpha1.Bitcoin, m.carried, nil
	if state == Succeeded {
		carrier.FeeSats = new(int64(0)) // the asset's entry has the fee
	}
	return []Entry{entry, carrier}, nil
}

// listedPayment is a payment of the service's list, and its record where there is one.
func listedPayment(p Payment, record *Record) *movement {
	m := &movement{
		entry: Entry{
			Direction: v1alpha1.DirectionOut, Method: Lightning, Asset: v1alpha1.Bitcoin, ID: p.Hash, Destination: p.Payee, Origin: Unmanaged,
		},
		state: p.State, started: p.CreatedAt, ended: p.UpdatedAt, what: "the payment " + p.Hash,
	}
	if p.Inbound {
		m.entry.Direction, m.entry.Destination, m.entry.FeeSats = v1alpha1.DirectionIn, "", new(int64(0))
	}
	sats := wholeSats(p.AmountMsat, p.Inbound)
	if p.AssetID == "" {
		m.amount = sats
	} else {
		m.entry.Asset, m.amount, m.carried = p.AssetID, p.AssetAmount, sats
	}
	m.join(record)
	return m
}

// wholeSats is an amount in sat: up for what is paid, down for what is received, so that no document shows more than there is.
func wholeSats(msat *int64, inbound bool) *int64 {
	if msat == nil {
		return nil
	}
	sats := *msat / 1000
	if *msat%1000 > 0 && !inbound {
		sats++
	}
	return &sats
}

// listedTransfer is a transfer of the service's list, and its record where there is one.
func listedTransfer(t Transfer, record *Record) *movement {
	m := &movement{
		entry: Entry{
			Direction: v1alpha1.DirectionIn, Method: Onchain, Asset: t.AssetID, ID: fmt.Sprintf("transfer-%d", t.Index), Txid: t.Txid,
			Origin: Unmanaged, FeeSats: new(int64(0)),
		},
		amount: t.Amount, state: t.State, started: t.CreatedAt, ended: t.UpdatedAt, expires: t.ExpiresAt,
		what: fmt.Sprintf("transfer %d of %s", t.Index, t.AssetID), ofUnknownKind: t.Kind == TransferUnknown,
	}
	switch t.Kind {
	case TransferSend:
		m.entry.Direction, m.entry.Destination, m.entry.FeeSats = v1alpha1.DirectionOut, t.RecipientID, nil
	case TransferIssuance:
		m.entry.Method = Issuance
	}
	m.join(record)
	return m
}

// join adds what the record of a movement knows. The service's word on it counts, but for a success that is on record: that is final,
// and it was no later than it was recorded. So what counted in one document does not count again in another because the service changed
// its mind, touched a payment that was long over, or called a transfer settled that it had called sent.
func (m *movement) join(record *Record) {
	if record == nil {
		return
	}
	m.entry.Origin = Managed
	m.entry.describe(record)
	m.expires = record.ExpiresAt
	if record.State == Succeeded && (m.state != Succeeded || m.ended.IsZero() || record.CompletedAt.Before(m.ended)) {
		m.state, m.ended = Succeeded, record.CompletedAt
	}
	if m.entry.Direction == v1alpha1.DirectionOut {
		m.entry.FeeSats = record.FeeSats
	}
	if m.carries() && m.carried == nil {
		m.carried = record.AmountSats
	}
}

// recorded is a movement that only the operator knows of.
func recorded(record *Record) *movement {
	m := &movement{
		entry: Entry{
			Direction: v1alpha1.DirectionOut, Method: Lightning, Asset: v1alpha1.Bitcoin, ID: record.Hash, Origin: Recorded, FeeSats: record.FeeSats,
		},
		amount: record.AmountSats, state: record.State, started: record.StartedAt, ended: record.CompletedAt, expires: record.ExpiresAt,
		what: "the record " + record.Name,
	}
	switch record.Kind {
	case v1alpha1.RecordLightningInvoice:
		m.entry.Direction = v1alpha1.DirectionIn
	case v1alpha1.RecordOnchainSend:
		m.entry.Method, m.entry.ID, m.entry.Txid = Onchain, record.SendID, record.Txid
	}
	if record.Asset != nil {
		m.entry.Asset, m.amount = record.Asset.ID, &record.Asset.Amount
		m.carried = record.AmountSats
	}
	m.entry.describe(record)
	return m
}
