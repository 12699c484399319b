package statement

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/rgb"
)

// Entry is one line of a document. Texts are as they were given; rendering makes them harmless.
type Entry struct {
	// At is what puts the entry into the period: when it was over, or, of what was not, when it started. Whole seconds, UTC.
	At time.Time
	// StartedAt is when it started: the payment, or the invoice that was paid.
	StartedAt time.Time
	State     State
	Direction v1alpha1.Direction
	Method    Method
	// Asset is bitcoin or an RGB contract id.
	Asset string
	// Amount is in sat or in the asset's smallest unit, without fees; nil where nobody told it.
	Amount *int64
	// FeeSats is what it cost beyond the amount; nil where nobody told it.
	FeeSats *int64
	// ID is the payment hash, the service's id of an on-chain send, or transfer-<index>.
	ID   string
	Txid string
	// Destination of what was paid: public key, address, or RGB invoice or recipient.
	Destination string
	Origin      Origin
	// Kind, Namespace, Name and Revision are of the resource that declared it, and Record is its PaymentRecord.
	Kind, Namespace, Name, Revision, Record string

	holderUID string
}

// describe adds who declared an entry.
func (e *Entry) describe(record *Record) {
	e.Kind, e.Namespace, e.Name, e.holderUID = record.Holder.Kind, record.Holder.Namespace, record.Holder.Name, record.Holder.UID
	e.Record = record.Name
	if record.Destination != "" {
		e.Destination = record.Destination
	}
	if record.Kind == v1alpha1.RecordOnchainSend {
		e.ID = cmp.Or(record.SendID, e.ID, record.Name)
		e.Txid = cmp.Or(e.Txid, record.Txid)
	}
}

// Resource names a resource that may have a revision.
type Resource struct{ Kind, Namespace, Name string }

// Declared is what is known of a resource.
type Declared struct{ UID, Revision string }

// Inputs is everything that Collect looks at.
type Inputs struct {
	Period Period
	Wallet v1alpha1.RecordWallet
	// Assets that are stated; all where there is none.
	Assets []string
	// Payments and Transfers are what the service lists; nothing where only records are asked.
	Payments  []Payment
	Transfers []Transfer
	// Records of all wallets: what is another wallet's, of a node that serves several, is not this one's to state.
	Records []Record
	// Resources that still exist, by name.
	Resources map[Resource]Declared
}

// Collect returns the entries of a document, in its order. An *IncompleteError says that the inputs do not give a complete one.
func Collect(in Inputs) ([]Entry, error) {
	known := in.index()
	var movements []*movement
	for _, p := range in.Payments {
		record := known.lightning[lightningKey{p.Hash, p.Inbound}]
		if record != nil && !payment.SameWallet(record.Wallet, in.Wallet) {
			if record.Submitted && record.Wallet.Server == in.Wallet.Server {
				continue
			}
			record = nil
		}
		known.listed(record)
		movements = append(movements, listedPayment(p, record))
	}
	for _, t := range in.Transfers {
		record := known.sendOf(t)
		if record != nil && !payment.SameWallet(record.Wallet, in.Wallet) {
			continue
		}
		known.listed(record)
		movements = append(movements, listedTransfer(t, record))
	}
	for i := range in.Records {
		record := &in.Records[i]
		if record.Submitted && !known.isListed[record] && payment.SameWallet(record.Wallet, in.Wallet) {
			movements = append(movements, recorded(record))
		}
	}

	var entries []Entry
	for _, m := range movements {
		if len(in.Assets) > 0 && !slices.Contains(in.Assets, m.entry.Asset) && !(m.carries() && slices.Contains(in.Assets, v1alpha1.Bitcoin)) {
			continue
		}
		found, err := m.entries(in.Period)
		if err != nil {
			return nil, err
		}
		for _, entry := range found {
			if len(in.Assets) > 0 && !slices.Contains(in.Assets, entry.Asset) {
				continue
			}
			entry.Revision = in.revision(&entry)
			entries = append(entries, entry)
		}
	}
	slices.SortFunc(entries, compare)
	return entries, nil
}

// revision is that of the resource that declared an entry, where it is still there. A LightningInvoice that was created again is another
// one; a payment that was is the same.
func (in *Inputs) revision(entry *Entry) string {
	declared, found := in.Resources[Resource{entry.Kind, entry.Namespace, entry.Name}]
	if !found || (entry.Direction == v1alpha1.DirectionIn && declared.UID != entry.holderUID) {
		return ""
	}
	return declared.Revision
}

// lightningKey tells a payment from an invoice of the same hash: a node that serves several wallets has both.
type lightningKey struct {
	hash    string
	inbound bool
}

// index finds records.
type index struct {
	lightning map[lightningKey]*Record
	// sends of assets, by transaction and by the recipient that is in their RGB invoice.
	sends    map[sendKey]*Record
	isListed map[*Record]bool
}

type sendKey struct{ asset, by string }

// sendOf returns the record of an OnchainSend that a transfer carried out, or nil.
func (x *index) sendOf(t Transfer) *Record {
	if t.Kind != TransferSend {
		return nil
	}
	_, local, _ := strings.Cut(t.RecipientID, ":") // some services put the network in front
	for _, by := range []string{t.RecipientID, local, t.Txid} {
		if record := x.sends[sendKey{t.AssetID, by}]; record != nil && by != "" {
			return record
		}
	}
	return nil
}

func (x *index) listed(record *Record) {
	if record != nil {
		x.isListed[record] = true
	}
}

func (in *Inputs) index() *index {
	known := &index{lightning: map[lightningKey]*Record{}, sends: map[sendKey]*Record{}, isListed: map[*Record]bool{}}
	for i := range in.Records {
		record := &in.Records[i]
		switch record.Kind {
		case v1alpha1.RecordLightningPayment, v1alpha1.RecordLightningInvoice:
			key := lightningKey{record.Hash, record.Kind == v1alpha1.RecordLightningInvoice}
			if had := known.lightning[key]; had == nil || payment.SameWallet(record.Wallet, in.Wallet) {
				known.lightning[key] = record
			}
		case v1alpha1.RecordOnchainSend:
			if record.Asset == nil || !record.Submitted {
				continue
			}
			known.sends[sendKey{record.Asset.ID, record.Txid}] = record
			if invoice, err := rgb.ParseInvoice(record.Destination); err == nil {
				known.sends[sendKey{record.Asset.ID, invoice.Beneficiary.String()}] = record
			}
		}
	}
	return known
}

// compare orders entries by time, and those of one second by everything else that a document shows.
func compare(a, b Entry) int {
	first := cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Direction, b.Direction),
		cmp.Compare(a.Asset, b.Asset))
	if first != 0 {
		return first
	}
	return slices.Compare(cells(&a), cells(&b))
}

// Sum returns the totals of the entries that succeeded: bitcoin first, then assets by id, what came in before what went out.
func Sum(entries []Entry) ([]v1alpha1.StatementTotal, error) {
	type key struct {
		asset     string
		direction v1alpha1.Direction
	}
	sums := map[key]*v1alpha1.StatementTotal{}
	for i := range entries {
		entry := &entries[i]
		if entry.State != Succeeded {
			continue
		}
		at := key{entry.Asset, entry.Direction}
		if sums[at] == nil {
			sums[at] = &v1alpha1.StatementTotal{Asset: entry.Asset, Direction: entry.Direction}
		}
		sum := sums[at]
		sum.Count++
		if entry.FeeSats == nil {
			sum.FeesUnknown++
		}
		for _, part := range []struct{ into, of *int64 }{{&sum.Amount, entry.Amount}, {&sum.FeeSats, entry.FeeSats}} {
			if part.of == nil {
				continue
			}
			if *part.into > math.MaxInt64-*part.of {
				return nil, incomplete("the amounts of %s do not add up within 64 bits", entry.Asset)
			}
			*part.into += *part.of
		}
	}
	totals := make([]v1alpha1.StatementTotal, 0, len(sums))
	for _, sum := range sums {
		totals = append(totals, *sum)
	}
	slices.SortFunc(totals, func(a, b v1alpha1.StatementTotal) int {
		if (a.Asset == v1alpha1.Bitcoin) != (b.Asset == v1alpha1.Bitcoin) {
			if a.Asset == v1alpha1.Bitcoin {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Direction, b.Direction))
	})
	return totals, nil
}
