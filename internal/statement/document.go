package statement

import (
	"cmp"
	"crypto/sha256"
	"fmt"
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
	if record.Kind == v1alpha1.RecordOnchainSend {
		e.ID = cmp.Or(record.SendID, e.ID, record.Name)
		e.Txid = cmp.Or(e.Txid, record.Txid)
	}
	if !record.isOwn {
		return // it is of another namespace, or was declared for another Wallet: that the books of this one do not tell
	}
	e.Kind, e.Namespace, e.Name, e.holderUID = record.Holder.Kind, record.Holder.Namespace, record.Holder.Name, record.Holder.UID
	e.Record = record.Name
	if record.Destination != "" {
		e.Destination = record.Destination
	}
}

// Resource names a resource that may have a revision.
type Resource struct{ Kind, Namespace, Name string }

// Declared is what is known of a resource.
type Declared struct{ UID, Revision string }

// Wallet says whose movements a document is about: a Wallet by its namespace and name, and what it is connected to. Another Wallet with the
// same keys at the same service is the same wallet there; what was declared for it is not this one's to tell.
type Wallet struct {
	Namespace string
	v1alpha1.RecordWallet
}

// made reports whether a record was made for this Wallet, or for one that was declared before it under its name.
func (w *Wallet) made(record *Record) bool {
	namespace := cmp.Or(record.Wallet.Namespace, record.Holder.Namespace)
	return namespace == w.Namespace && record.Wallet.Name == w.Name && payment.SameWallet(record.Wallet, w.RecordWallet)
}

// Collector makes the entries of a document of what it is told: what the service lists, payments before transfers, and then the records.
// Of all that there is, be it ever so much, it keeps what the document shows, a digest of each other payment that is listed, and the records
// of the sends that are listed as transfers.
type Collector struct {
	period Period
	wallet Wallet
	// stated are the assets that are stated; all where there is none.
	stated []string
	moved  map[string]bool
	// payments are those that the document shows unless a record says otherwise, in the order of the list, and joined what records say.
	payments []Payment
	joined   map[lightningKey]*joint
	// outside are those that it does not show by the service's word, over those that it does not show whatever a record says.
	outside   map[mark]outsider
	over      map[mark]bool
	transfers []Transfer
	sends     *sends
	entries   []Entry
	err       error
}

// NewCollector returns a Collector for a document about a wallet and some assets, all where there is none.
func NewCollector(period Period, wallet Wallet, assets []string) *Collector {
	return &Collector{
		period: period, wallet: wallet, stated: assets, moved: map[string]bool{}, joined: map[lightningKey]*joint{},
		outside: map[mark]outsider{}, over: map[mark]bool{},
		sends: &sends{listed: map[sendKey]bool{}, records: map[sendKey]*Record{}, isListed: map[*Record]bool{}},
	}
}

// Payment takes a payment of the service's list.
func (c *Collector) Payment(p Payment) {
	if p.AssetID != "" {
		c.moved[p.AssetID] = true
	}
	m := listedPayment(p, nil)
	found, err := m.entries(c.period)
	switch {
	case !c.states(m), len(found) == 0 && err == nil && m.state == Succeeded && m.ended.Before(c.period.From):
		c.over[markOf(p.Hash, p.Inbound)] = true // a record would move its end to an earlier instant, if at all
		return
	case len(found) == 0 && err == nil:
		c.outside[markOf(p.Hash, p.Inbound)] = outsider{m.amount, m.carried}
		return
	}
	key := lightningKey{p.Hash, p.Inbound}
	c.payments = append(c.payments, p)
	if c.joined[key] == nil {
		c.joined[key] = &joint{}
	}
}

// Transfer takes a transfer of the service's list.
func (c *Collector) Transfer(t Transfer) {
	c.transfers = append(c.transfers, t)
	for _, key := range keysOf(t) {
		c.sends.listed[key] = true
	}
}

// Moves tells of a record, before transfers are taken, that it moved an asset: one that was spent to the last unit need not be among what
// the wallet holds.
func (c *Collector) Moves(from *v1alpha1.PaymentRecord) {
	if asset := from.Spec.Asset; asset != nil && payment.SameWallet(from.Spec.Wallet, c.wallet.RecordWallet) {
		c.moved[asset.ID] = true
	}
}

// Moved are the assets that payments and records moved, in order.
func (c *Collector) Moved() []string { return slices.Sorted(maps.Keys(c.moved)) }

// Record takes a record, of whichever wallet, once everything that the service lists was taken.
func (c *Collector) Record(from *v1alpha1.PaymentRecord) {
	if !payment.SameWallet(from.Spec.Wallet, c.wallet.RecordWallet) && from.Spec.Kind != v1alpha1.RecordOnchainSend &&
		c.joined[lightningKey{from.Spec.PaymentHash, from.Spec.Kind == v1alpha1.RecordLightningInvoice}] == nil {
		return // another wallet's, which nothing here depends on
	}
	if record, moves := NewRecord(from); moves {
		c.record(record)
	}
}

func (c *Collector) record(record Record) {
	isSame := payment.SameWallet(record.Wallet, c.wallet.RecordWallet)
	record.isOwn = c.wallet.made(&record)
	switch {
	case !isSame && (!record.Submitted || record.Wallet.Server != c.wallet.Server):
		return // of another service, or nothing that another wallet did
	case record.Kind == v1alpha1.RecordOnchainSend && record.Asset != nil && record.Submitted && c.sends.take(&record, isSame):
		return
	case record.Kind != v1alpha1.RecordOnchainSend && c.joinPayment(&record, isSame):
		return
	}
	if record.isOwn && record.Submitted {
		c.take(recorded(&record))
	}
}

// joinPayment joins a record with the payment that the service lists of it; false where it lists none.
func (c *Collector) joinPayment(record *Record, isSame bool) bool {
	inbound := record.Kind == v1alpha1.RecordLightningInvoice
	if joint := c.joined[lightningKey{record.Hash, inbound}]; joint != nil {
		switch {
		case !isSame:
			joint.isOthers = true
		case joint.record == nil || record.isOwn:
			joint.record = record
		}
		return true
	}
	at := markOf(record.Hash, inbound)
	if c.over[at] {
		return true
	}
	was, listed := c.outside[at]
	// A success that is on record is final, whatever the service says of it now.
	if listed && isSame && record.State == Succeeded && record.CompletedAt.Before(c.period.To) {
		m := recorded(record)
		m.entry.Origin = Managed
		if was.amount != nil {
			m.amount = was.amount
		}
		if was.carried != nil {
			m.carried = was.carried
		}
		c.take(m)
		c.over[at] = true // another Wallet with the same keys may have a record of it too
	}
	return listed
}

// IsOpen reports whether something that the service lists is of no record of this wallet so far, and may be of another's: of a node that
// serves several wallets, what another one did is not this one's to state.
func (c *Collector) IsOpen() bool {
	for _, joint := range c.joined {
		if joint.record == nil {
			return true
		}
	}
	return slices.ContainsFunc(c.transfers, func(t Transfer) bool { return t.Kind == TransferSend && c.sends.of(t) == nil })
}

// Entries returns the entries of the document, in its order, once everything was taken, with the revisions of resources that still exist.
// An *IncompleteError says that what was taken does not give a complete one.
func (c *Collector) Entries(resources map[Resource]Declared) ([]Entry, error) {
	for _, p := range c.payments {
		if joint := c.joined[lightningKey{p.Hash, p.Inbound}]; joint.record != nil || !joint.isOthers {
			c.take(listedPayment(p, joint.record))
		}
	}
	for _, t := range c.transfers {
		record := c.sends.of(t)
		if record != nil {
			c.sends.isListed[record] = true
		}
		if record == nil || payment.SameWallet(record.Wallet, c.wallet.RecordWallet) {
			c.take(listedTransfer(t, record))
		}
	}
	for _, record := range c.sends.kept {
		if record.isOwn && !c.sends.isListed[record] {
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
	if c.err != nil || !c.states(m) {
		return
	}
	found, err := m.entries(c.period)
	if err != nil {
		c.err = err
		return
	}
	for _, entry := range found {
		if c.isStated(entry.Asset) {
			c.entries = append(c.entries, entry)
		}
	}
}

func (c *Collector) isStated(asset string) bool {
	return len(c.stated) == 0 || slices.Contains(c.stated, asset)
}

// states reports whether a document is about what a movement moves, or carries with it.
func (c *Collector) states(m *movement) bool {
	return c.isStated(m.entry.Asset) || m.carries() && c.isStated(v1alpha1.Bitcoin)
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

// joint is what records say of a payment that is listed.
type joint struct {
	// record is of this wallet, and where there are two, the one that was made for this Wallet.
	record *Record
	// isOthers tells that another wallet of the node has one.
	isOthers bool
}

// mark stands for the payment of a lightningKey, in less memory.
type mark [sha256.Size]byte

func markOf(hash string, inbound bool) mark {
	return sha256.Sum256(fmt.Appendf(nil, "%t %s", inbound, hash))
}

// outsider is a payment that a document does not show by the service's word, with what it moved, as of a movement.
type outsider struct{ amount, carried *int64 }

// sends finds the records of OnchainSends of assets that are listed as transfers.
type sends struct {
	listed map[sendKey]bool
	// records by transaction and by the recipient that is in their RGB invoice.
	records map[sendKey]*Record
	// kept are those of this wallet, in the order in which they came.
	kept     []*Record
	isListed map[*Record]bool
}

type sendKey struct{ asset, by string }

// keysOf are what the record of a transfer may be found by, the surest first.
func keysOf(t Transfer) []sendKey {
	if t.Kind != TransferSend {
		return nil
	}
	var keys []sendKey
	_, local, _ := strings.Cut(t.RecipientID, ":") // some services put the network in front
	for _, by := range []string{t.RecipientID, local, t.Txid} {
		if by != "" {
			keys = append(keys, sendKey{t.AssetID, by})
		}
	}
	return keys
}

// take keeps a record by which transfers may be found; false where none is listed. Those that were made for this Wallet go before others of
// the wallet, and these before other wallets'.
func (s *sends) take(record *Record, isSame bool) bool {
	keys := []sendKey{{record.Asset.ID, record.Txid}}
	if invoice, err := rgb.ParseInvoice(record.Destination); err == nil {
		keys = append(keys, sendKey{record.Asset.ID, invoice.Beneficiary.String()})
	}
	taken := false
	for _, key := range keys {
		if !s.listed[key] {
			continue
		}
		taken = true
		if had := s.records[key]; had == nil || record.isOwn || isSame && !had.isOwn {
			s.records[key] = record
		}
	}
	if taken && isSame {
		s.kept = append(s.kept, record)
	}
	return taken
}

// of returns the record of an OnchainSend that a transfer carried out, or nil.
func (s *sends) of(t Transfer) *Record {
	for _, key := range keysOf(t) {
		if record := s.records[key]; record != nil {
			return record
		}
	}
	return nil
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
