package statement

import (
	"cmp"
	"maps"
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

// Collector makes the entries of a document of what it is told, one movement after another. Of all that a service lists, be it ever so much,
// it keeps what the document shows.
type Collector struct {
	period Period
	wallet v1alpha1.RecordWallet
	// stated are the assets that are stated; all where there is none.
	stated  []string
	records []Record
	known   *index
	moved   map[string]bool
	entries []Entry
	err     error
}

// NewCollector returns a Collector for a document about a wallet and some assets, all where there is none. The records are of all wallets:
// what is another wallet's, of a node that serves several, is not this one's to state.
func NewCollector(period Period, wallet v1alpha1.RecordWallet, assets []string, records []Record) *Collector {
	c := &Collector{period: period, wallet: wallet, stated: assets, records: records, moved: map[string]bool{}}
	c.known = c.index()
	for i := range records {
		if asset := records[i].Asset; asset != nil {
			c.moved[asset.ID] = true
		}
	}
	return c
}

// Payment takes a payment of the service's list. Payments come before transfers.
func (c *Collector) Payment(p Payment) {
	c.moved[p.AssetID] = true
	record := c.known.lightning[lightningKey{p.Hash, p.Inbound}]
	if record != nil && !payment.SameWallet(record.Wallet, c.wallet) {
		if record.Submitted && record.Wallet.Server == c.wallet.Server {
			return
		}
		record = nil
	}
	c.known.listed(record)
	c.take(listedPayment(p, record))
}

// Transfer takes a transfer of the service's list.
func (c *Collector) Transfer(t Transfer) {
	record := c.known.sendOf(t)
	if record != nil && !payment.SameWallet(record.Wallet, c.wallet) {
		return
	}
	c.known.listed(record)
	c.take(listedTransfer(t, record))
}

// Moved are the assets that are recorded or that payments moved, in order. A wallet that spent one to the last unit need not show it.
func (c *Collector) Moved() []string {
	delete(c.moved, "") // bitcoin
	return slices.Sorted(maps.Keys(c.moved))
}

// Entries returns the entries of the document, in its order, once everything was taken, with the revisions of resources that still exist.
// An *IncompleteError says that what was taken does not give a complete one.
func (c *Collector) Entries(resources map[Resource]Declared) ([]Entry, error) {
	for i := range c.records {
		record := &c.records[i]
		if record.Submitted && !c.known.isListed[record] && payment.SameWallet(record.Wallet, c.wallet) {
			c.take(recorded(record))
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	for i := range c.entries {
		c.entries[i].Revision = revision(resources, &c.entries[i])
	}
	slices.SortFunc(c.entries, compare)
	return c.entries, nil
}

// take keeps what the document shows of a movement, or the first thing that keeps it from being complete.
func (c *Collector) take(m *movement) {
	isStated := func(asset string) bool { return len(c.stated) == 0 || slices.Contains(c.stated, asset) }
	if c.err != nil || !isStated(m.entry.Asset) && !(m.carries() && isStated(v1alpha1.Bitcoin)) {
		return
	}
	found, err := m.entries(c.period)
	if err != nil {
		c.err = err
		return
	}
	for _, entry := range found {
		if isStated(entry.Asset) {
			c.entries = append(c.entries, entry)
		}
	}
}

// revision is that of the resource that declared an entry, where it is still there. A LightningInvoice that was created again is another
// one; a payment that was is the same.
func revision(resources map[Resource]Declared, entry *Entry) string {
	declared, found := resources[Resource{entry.Kind, entry.Namespace, entry.Name}]
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

func (c *Collector) index() *index {
	known := &index{lightning: map[lightningKey]*Record{}, sends: map[sendKey]*Record{}, isListed: map[*Record]bool{}}
	for i := range c.records {
		record := &c.records[i]
		switch record.Kind {
		case v1alpha1.RecordLightningPayment, v1alpha1.RecordLightningInvoice:
			key := lightningKey{record.Hash, record.Kind == v1alpha1.RecordLightningInvoice}
			if had := known.lightning[key]; had == nil || payment.SameWallet(record.Wallet, c.wallet) {
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
