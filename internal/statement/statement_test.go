package statement

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

var (
	october = Period{From: day(10, 1), To: day(11, 1)}
	wallet  = v1alpha1.RecordWallet{Name: "main", MasterFingerprint: "0badcafe", XpubVanilla: "tpub", Server: "https://utexo.test"}
	other   = v1alpha1.RecordWallet{Name: "other", MasterFingerprint: "00000000", XpubVanilla: "tpubD", Server: "https://utexo.test"}
	usdt    = "rgb:usdt"
)

func day(month time.Month, day int) time.Time {
	return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC)
}

func hashOf(n int) string { return fmt.Sprintf("%064x", n) }

// paid is a payment of 1000 sat that was made in October.
func paid(change func(*Payment)) Payment {
	p := Payment{Hash: hashOf(1), State: Succeeded, AmountMsat: new(int64(1_000_000)), Payee: "02aa", CreatedAt: day(10, 5), UpdatedAt: day(10, 6)}
	if change != nil {
		change(&p)
	}
	return p
}

func recordOf(change func(*Record)) Record {
	r := Record{
		Name: "ln-1", Kind: v1alpha1.RecordLightningPayment, Wallet: wallet, Hash: hashOf(1), Destination: "02bb", AmountSats: new(int64(1000)),
		FeeSats: new(int64(7)), State: Succeeded, Submitted: true, StartedAt: day(10, 5), CompletedAt: day(10, 7),
		Holder: v1alpha1.RecordHolder{Kind: "LightningPayment", Namespace: "treasury", Name: "rent", UID: "1"},
	}
	if change != nil {
		change(&r)
	}
	return r
}

// brief is what a case says of an entry.
func brief(e Entry) string {
	return fmt.Sprintf("%s %s %s %s %s+%s %s %s", e.At.Format(time.DateOnly), e.State, e.Direction, e.Method, number(e.Amount), number(e.FeeSats), e.Origin, e.Name)
}

// inputs is everything that a document is made of.
type inputs struct {
	Period    Period
	Wallet    v1alpha1.RecordWallet
	Assets    []string
	Payments  []Payment
	Transfers []Transfer
	Records   []Record
	Resources map[Resource]Declared
}

func collect(in inputs) ([]Entry, error) {
	c := NewCollector(in.Period, Wallet{"treasury", in.Wallet}, in.Assets)
	for _, p := range in.Payments {
		c.Payment(p)
	}
	for _, t := range in.Transfers {
		c.Transfer(t)
	}
	for _, r := range in.Records {
		c.record(r)
	}
	return c.Entries(in.Resources)
}

func TestCollect(t *testing.T) {
	one := func(p Payment) []Payment { return []Payment{p} }
	records := func(change func(*Record)) []Record { return []Record{recordOf(change)} }
	onchain := func(r *Record) {
		r.Name, r.Kind, r.Hash, r.SendID, r.Destination = "oc-1", v1alpha1.RecordOnchainSend, "", "7", "bcrt1q"
		r.Holder = v1alpha1.RecordHolder{Kind: "OnchainSend", Namespace: "treasury", Name: "payroll"}
	}
	invoice := func(r *Record) {
		r.Kind, r.FeeSats, r.ExpiresAt, r.State = v1alpha1.RecordLightningInvoice, new(int64(0)), day(10, 6), Pending
		r.CompletedAt, r.Destination = time.Time{}, ""
	}
	transfer := Transfer{AssetID: usdt, Index: 3, Kind: TransferSend, State: Succeeded, Amount: new(int64(50)), Txid: "aa", CreatedAt: day(10, 5), UpdatedAt: day(10, 6)}
	with := func(change func(*Transfer)) []Transfer {
		changed := transfer
		change(&changed)
		return []Transfer{changed}
	}
	for name, tc := range map[string]struct {
		in      inputs
		want    []string
		wantErr string
	}{
		"nothing": {},
		"a payment of nobody's": {
			in: inputs{Payments: one(paid(nil))}, want: []string{"2026-10-06 Succeeded Out Lightning 1000+ Unmanaged "},
		},
		"a payment of ours has its fee and the service's instant": {
			in: inputs{Payments: one(paid(nil)), Records: records(nil)}, want: []string{"2026-10-06 Succeeded Out Lightning 1000+7 Managed rent"},
		},
		"parts of a sat count as one for who pays": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.AmountMsat = new(int64(1_000_001)) }))},
			want: []string{"2026-10-06 Succeeded Out Lightning 1001+ Unmanaged "},
		},
		"parts of a sat count as none for who is paid": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.AmountMsat, p.Inbound = new(int64(1_000_999)), true }))},
			want: []string{"2026-10-06 Succeeded In Lightning 1000+0 Unmanaged "},
		},
		"a payment at the first instant": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.CreatedAt, p.UpdatedAt = day(9, 30), october.From }))},
			want: []string{"2026-10-01 Succeeded Out Lightning 1000+ Unmanaged "},
		},
		"a payment at the last instant before": {
			in: inputs{Payments: one(paid(func(p *Payment) { p.CreatedAt, p.UpdatedAt = day(9, 30), october.From.Add(-1) }))},
		},
		"a payment that succeeded right after the period was pending at its end": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.UpdatedAt = october.To }))},
			want: []string{"2026-10-05 Pending Out Lightning 1000+ Unmanaged "},
		},
		"a payment that succeeded in the period that was pending before": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.CreatedAt = day(9, 1) }))},
			want: []string{"2026-10-06 Succeeded Out Lightning 1000+ Unmanaged "},
		},
		"a payment that began after the period": {
			in: inputs{Payments: one(paid(func(p *Payment) { p.CreatedAt, p.UpdatedAt = october.To, october.To }))},
		},
		"a payment that is pending since long": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.State, p.CreatedAt = Pending, day(1, 1) }))},
			want: []string{"2026-01-01 Pending Out Lightning 1000+ Unmanaged "},
		},
		"a payment that failed": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.State = Failed })), Records: records(func(r *Record) { r.State = Failed })},
			want: []string{"2026-10-06 Failed Out Lightning 1000+ Managed rent"},
		},
		"a payment that failed long ago": {
			in: inputs{Payments: one(paid(func(p *Payment) { p.State, p.CreatedAt, p.UpdatedAt = Failed, day(1, 1), day(1, 1) }))},
		},
		"a success that was seen before is final": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.State = Failed })), Records: records(nil)},
			want: []string{"2026-10-07 Succeeded Out Lightning 1000+7 Managed rent"},
		},
		"a success that the operator does not know yet": {
			in:   inputs{Payments: one(paid(nil)), Records: records(func(r *Record) { r.State, r.CompletedAt = Pending, time.Time{} })},
			want: []string{"2026-10-06 Succeeded Out Lightning 1000+7 Managed rent"},
		},
		"a payment that the service no longer lists": {
			in: inputs{Records: records(nil)}, want: []string{"2026-10-07 Succeeded Out Lightning 1000+7 Recorded rent"},
		},
		"a payment of which nothing was submitted": {
			in: inputs{Records: records(func(r *Record) { r.State, r.Submitted = Pending, false })},
		},
		"an outcome that is unknown since long": {
			in:   inputs{Records: records(func(r *Record) { r.State, r.StartedAt, r.CompletedAt = Unknown, day(1, 1), day(1, 1) })},
			want: []string{"2026-01-01 Unknown Out Lightning 1000+ Recorded rent"},
		},
		"another wallet's payment of the same node": {
			in: inputs{Payments: one(paid(nil)), Records: records(func(r *Record) { r.Wallet = other })},
		},
		"a payment that another wallet was declared to make and did not": {
			in:   inputs{Payments: one(paid(nil)), Records: records(func(r *Record) { r.Wallet, r.Submitted, r.State = other, false, Pending })},
			want: []string{"2026-10-06 Succeeded Out Lightning 1000+ Unmanaged "},
		},
		"another service's record of the hash": {
			in:   inputs{Payments: one(paid(nil)), Records: records(func(r *Record) { r.Wallet.Server = "https://elsewhere.test" })},
			want: []string{"2026-10-06 Succeeded Out Lightning 1000+ Unmanaged "},
		},
		"an invoice is not the payment of the same hash": {
			in: inputs{Payments: one(paid(func(p *Payment) { p.Inbound = true })), Records: records(nil)},
			want: []string{
				"2026-10-06 Succeeded In Lightning 1000+0 Unmanaged ", "2026-10-07 Succeeded Out Lightning 1000+7 Recorded rent",
			},
		},
		"an open invoice is shown in the period that it was issued in": {
			in: inputs{Payments: one(paid(func(p *Payment) { p.Inbound, p.State = true, Pending })), Records: records(func(r *Record) {
				invoice(r)
				r.ExpiresAt = day(12, 1)
			})},
			want: []string{"2026-10-05 Pending In Lightning 1000+ Managed rent"},
		},
		"an invoice that expired": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.Inbound, p.State = true, Pending })), Records: records(invoice)},
			want: []string{"2026-10-05 Expired In Lightning 1000+ Managed rent"},
		},
		"an open invoice of an earlier period": {
			in: inputs{Payments: one(paid(func(p *Payment) { p.Inbound, p.State, p.CreatedAt = true, Pending, day(9, 1) }))},
		},
		"an invoice that was paid after it expired": {
			in:   inputs{Payments: one(paid(func(p *Payment) { p.Inbound = true })), Records: records(invoice)},
			want: []string{"2026-10-06 Succeeded In Lightning 1000+0 Managed rent"},
		},
		"an asset payment carries bitcoin": {
			in: inputs{Payments: one(paid(func(p *Payment) { p.AssetID, p.AssetAmount = usdt, new(int64(50)) })), Records: records(nil)},
			want: []string{
				"2026-10-06 Succeeded Out Lightning 50+7 Managed rent", "2026-10-06 Succeeded Out LightningCarrier 1000+0 Managed rent",
			},
		},
		"bitcoin alone": {
			in: inputs{Assets: []string{"bitcoin"}, Payments: one(paid(func(p *Payment) { p.AssetID, p.AssetAmount = usdt, new(int64(50)) }))},
			want: []string{
				"2026-10-06 Succeeded Out LightningCarrier 1000+0 Unmanaged ",
			},
		},
		"an asset alone": {
			in: inputs{Assets: []string{usdt}, Payments: []Payment{
				paid(nil), paid(func(p *Payment) { p.Hash, p.AssetID, p.AssetAmount = hashOf(2), usdt, new(int64(50)) }),
			}},
			want: []string{"2026-10-06 Succeeded Out Lightning 50+ Unmanaged "},
		},
		"a recorded asset payment": {
			in: inputs{Records: records(func(r *Record) { r.Asset = &v1alpha1.AssetAmount{ID: usdt, Amount: 50} })},
			want: []string{
				"2026-10-07 Succeeded Out Lightning 50+7 Recorded rent", "2026-10-07 Succeeded Out LightningCarrier 1000+0 Recorded rent",
			},
		},
		"a send of bitcoin": {
			in: inputs{Records: records(onchain)}, want: []string{"2026-10-07 Succeeded Out Onchain 1000+7 Recorded payroll"},
		},
		"a send of an asset is the transfer of its transaction": {
			in: inputs{Transfers: []Transfer{transfer}, Records: records(func(r *Record) {
				onchain(r)
				r.Txid, r.Asset, r.AmountSats = "aa", &v1alpha1.AssetAmount{ID: usdt, Amount: 50}, new(int64(0))
			})},
			want: []string{"2026-10-06 Succeeded Out Onchain 50+7 Managed payroll"},
		},
		"a transfer of nobody's": {
			in:   inputs{Transfers: []Transfer{transfer}, Records: records(onchain)},
			want: []string{"2026-10-06 Succeeded Out Onchain 50+ Unmanaged ", "2026-10-07 Succeeded Out Onchain 1000+7 Recorded payroll"},
		},
		"an issuance and a receipt": {
			in: inputs{Transfers: append(with(func(t *Transfer) { t.Kind = TransferIssuance }), with(func(t *Transfer) { t.Kind, t.Index = TransferReceive, 4 })...)},
			want: []string{
				"2026-10-06 Succeeded In Issuance 50+0 Unmanaged ", "2026-10-06 Succeeded In Onchain 50+0 Unmanaged ",
			},
		},
		"a receipt that nobody made in time": {
			in: inputs{Transfers: with(func(t *Transfer) {
				t.Kind, t.State, t.Amount, t.ExpiresAt = TransferReceive, Pending, nil, day(10, 6)
			})},
			want: []string{"2026-10-05 Expired In Onchain + Unmanaged "},
		},

		"a payment without an amount":          {in: inputs{Payments: one(paid(func(p *Payment) { p.AmountMsat = nil }))}, wantErr: "no amount"},
		"a failed payment without an amount":   {in: inputs{Payments: one(paid(func(p *Payment) { p.AmountMsat, p.State = nil, Failed }))}, want: []string{"2026-10-06 Failed Out Lightning + Unmanaged "}},
		"a payment of less than nothing":       {in: inputs{Payments: one(paid(func(p *Payment) { p.AmountMsat = new(int64(-1000)) }))}, wantErr: "negative"},
		"a payment without an instant":         {in: inputs{Payments: one(paid(func(p *Payment) { p.CreatedAt, p.UpdatedAt = time.Time{}, time.Time{} }))}, wantErr: "no instant"},
		"a transfer of a kind nobody knows":    {in: inputs{Transfers: with(func(t *Transfer) { t.Kind = TransferUnknown })}, wantErr: "not known"},
		"such a one that is not stated":        {in: inputs{Assets: []string{"bitcoin"}, Transfers: with(func(t *Transfer) { t.Kind = TransferUnknown })}},
		"an asset payment without its bitcoin": {in: inputs{Payments: one(paid(func(p *Payment) { p.AssetID, p.AssetAmount, p.AmountMsat = usdt, new(int64(5)), nil }))}, wantErr: "no amount"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.in.Period, tc.in.Wallet = october, wallet
			entries, err := collect(tc.in)
			if tc.wantErr != "" {
				if _, ok := errors.AsType[*IncompleteError](err); !ok || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("Collect = %v, want an IncompleteError of %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, brief(e))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingCountsTwice writes the documents of two months, each on what was known at its end: what succeeds counts in one of them.
func TestNothingCountsTwice(t *testing.T) {
	november := Period{From: october.To, To: day(12, 1)}
	send := func(done time.Time) Record {
		return recordOf(func(r *Record) {
			r.Kind, r.Hash, r.SendID, r.Txid, r.Asset = v1alpha1.RecordOnchainSend, "", "7", "aa", &v1alpha1.AssetAmount{ID: usdt, Amount: 50}
			r.CompletedAt = done
		})
	}
	transfer := func(state State, updated time.Time) []Transfer {
		return []Transfer{{
			AssetID: usdt, Index: 3, Kind: TransferSend, State: state, Amount: new(int64(50)), Txid: "aa", CreatedAt: day(10, 5), UpdatedAt: updated,
		}}
	}
	listed := func(state State, updated time.Time) []Payment {
		return []Payment{paid(func(p *Payment) { p.State, p.UpdatedAt = state, updated })}
	}
	for name, tc := range map[string]struct {
		first, second inputs
		want          []string
	}{
		"a payment that is pending, and then not": {
			first: inputs{Payments: listed(Pending, day(10, 5))}, second: inputs{Payments: listed(Succeeded, day(11, 2))}, want: []string{"November"},
		},
		"a payment that fails, and succeeds all the same": {
			first: inputs{Payments: listed(Failed, day(10, 6))}, second: inputs{Payments: listed(Succeeded, day(11, 2))}, want: []string{"November"},
		},
		"a payment that is touched after it was over": {
			first:  inputs{Payments: listed(Succeeded, day(10, 6)), Records: []Record{recordOf(nil)}},
			second: inputs{Payments: listed(Succeeded, day(11, 2)), Records: []Record{recordOf(nil)}}, want: []string{"October"},
		},
		"a payment that succeeds, and is called failed for a while": {
			first:  inputs{Payments: listed(Failed, day(10, 8)), Records: []Record{recordOf(nil)}},
			second: inputs{Payments: listed(Succeeded, day(11, 2)), Records: []Record{recordOf(nil)}}, want: []string{"October"},
		},
		"a payment that is no longer listed": {
			first: inputs{Payments: listed(Succeeded, day(10, 6)), Records: []Record{recordOf(nil)}}, second: inputs{Records: []Record{recordOf(nil)}},
			want: []string{"October"},
		},
		"a payment whose record was lost and made anew": {
			first:  inputs{Payments: listed(Succeeded, day(10, 6)), Records: []Record{recordOf(nil)}},
			second: inputs{Payments: listed(Succeeded, day(10, 6)), Records: []Record{recordOf(func(r *Record) { r.CompletedAt = day(11, 20) })}},
			want:   []string{"October"},
		},
		"a transfer that is sent in one month and settled in the next": {
			first:  inputs{Transfers: transfer(Pending, day(10, 31)), Records: []Record{send(day(10, 31))}},
			second: inputs{Transfers: transfer(Succeeded, day(11, 1)), Records: []Record{send(day(10, 31))}}, want: []string{"October"},
		},
		"a transfer that the operator sees late": {
			first:  inputs{Transfers: transfer(Succeeded, day(10, 31)), Records: []Record{send(day(11, 1))}},
			second: inputs{Transfers: transfer(Succeeded, day(10, 31)), Records: []Record{send(day(11, 1))}}, want: []string{"October"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for period, in := range map[Period]inputs{october: tc.first, november: tc.second} {
				in.Period, in.Wallet = period, wallet
				entries, err := collect(in)
				if err != nil {
					t.Fatal(err)
				}
				totals, err := Sum(entries)
				if err != nil {
					t.Fatal(err)
				}
				for range totals {
					got = append(got, period.From.Month().String())
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("months in which it counts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRevisions shows the revision of who declared an entry: of a payment also where it was created again, of an invoice not.
func TestRevisions(t *testing.T) {
	record := recordOf(nil)
	issued := recordOf(func(r *Record) {
		r.Kind, r.Hash, r.Holder = v1alpha1.RecordLightningInvoice, hashOf(2), v1alpha1.RecordHolder{Kind: "LightningInvoice", Namespace: "treasury", Name: "shop", UID: "2"}
	})
	for name, tc := range map[string]struct {
		resources map[Resource]Declared
		want      []string
	}{
		"they are gone": {want: []string{"", ""}},
		"they are there": {
			resources: map[Resource]Declared{{"LightningPayment", "treasury", "rent"}: {"1", "a"}, {"LightningInvoice", "treasury", "shop"}: {"2", "b"}},
			want:      []string{"a", "b"},
		},
		"they were created again": {
			resources: map[Resource]Declared{{"LightningPayment", "treasury", "rent"}: {"9", "a"}, {"LightningInvoice", "treasury", "shop"}: {"9", "b"}},
			want:      []string{"a", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			entries, err := collect(inputs{Period: october, Wallet: wallet, Records: []Record{record, issued}, Resources: tc.resources})
			if err != nil || len(entries) != 2 {
				t.Fatalf("%d entries, %v", len(entries), err)
			}
			if diff := cmp.Diff(tc.want, []string{entries[0].Revision, entries[1].Revision}); diff != "" {
				t.Errorf("revisions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewRecord(t *testing.T) {
	at := func(t time.Time) *metav1.MicroTime { return &metav1.MicroTime{Time: t} }
	type brief struct {
		State     State
		Submitted bool
		Sats      int64
		Ended     time.Time
	}
	for name, tc := range map[string]struct {
		kind    v1alpha1.RecordKind
		request string
		journal v1alpha1.PaymentJournal
		want    *brief
	}{
		"an invoice":          {kind: v1alpha1.RecordLightningInvoice, request: "lnbcrt", journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld}, want: &brief{Pending, true, 1000, time.Time{}}},
		"an invoice given up": {kind: v1alpha1.RecordLightningInvoice, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld}},
		"a paid invoice": {
			kind: v1alpha1.RecordLightningInvoice, request: "lnbcrt",
			journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld, Reason: v1alpha1.ReasonSettled, CompletedAt: at(day(10, 7))},
			want:    &brief{Succeeded, true, 1000, day(10, 7)},
		},
		"an invoice paid after it was deleted": {
			kind: v1alpha1.RecordLightningInvoice, request: "lnbcrt",
			journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld, Reason: v1alpha1.EventUnattributedReceipt, CompletedAt: at(day(10, 7))},
			want:    &brief{Succeeded, true, 1000, day(10, 7)},
		},
		"a claim":           {kind: v1alpha1.RecordLightningPayment, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordClaimed}, want: &brief{Pending, false, 1000, time.Time{}}},
		"under way":         {kind: v1alpha1.RecordLightningPayment, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordSubmitting}, want: &brief{Pending, true, 1000, time.Time{}}},
		"done":              {kind: v1alpha1.RecordLightningPayment, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordSucceeded, CompletedAt: at(day(10, 7))}, want: &brief{Succeeded, true, 1000, day(10, 7)}},
		"failed":            {kind: v1alpha1.RecordLightningPayment, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordFailed, SubmittedAt: at(day(10, 5)), CompletedAt: at(day(10, 7))}, want: &brief{Failed, true, 1000, day(10, 7)}},
		"refused":           {kind: v1alpha1.RecordLightningPayment, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordFailed, CompletedAt: at(day(10, 7))}, want: &brief{Failed, false, 1000, day(10, 7)}},
		"unknown":           {kind: v1alpha1.RecordOnchainSend, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordUnknown, CompletedAt: at(day(10, 7))}, want: &brief{Unknown, true, 1000, day(10, 7)}},
		"the fee came off":  {kind: v1alpha1.RecordOnchainSend, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordSucceeded, AmountSatsSent: new(int64(900)), CompletedAt: at(day(10, 7))}, want: &brief{Succeeded, true, 900, day(10, 7)}},
		"a settlement":      {kind: v1alpha1.RecordSettlement, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordSucceeded}},
		"a claim of an id":  {kind: v1alpha1.RecordSendClaim, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld}},
		"a wallet's epoch":  {kind: v1alpha1.RecordWalletEpoch, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld}},
		"a pinned invoice":  {kind: v1alpha1.RecordInvoicePin, request: "lnbcrt", journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld}},
		"a claim of orders": {kind: v1alpha1.RecordOrderClaim, journal: v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld}},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := NewRecord(&v1alpha1.PaymentRecord{
				Spec: v1alpha1.PaymentRecordSpec{Kind: tc.kind, PaymentRequest: tc.request, AmountSats: new(int64(1000))}, Journal: tc.journal,
			})
			if ok != (tc.want != nil) {
				t.Fatalf("it is a movement: %t", ok)
			}
			if !ok {
				return
			}
			if diff := cmp.Diff(*tc.want, brief{got.State, got.Submitted, *got.AmountSats, got.CompletedAt}); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNext(t *testing.T) {
	created := time.Date(2026, time.October, 15, 9, 30, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		schedule string
		closed   time.Time
		want     Period
		wantErr  string
	}{
		"the first month is whole":        {schedule: "0 0 1 * *", want: october},
		"the month after a closed one":    {schedule: "@monthly", closed: october.To, want: Period{day(11, 1), day(12, 1)}},
		"quarters":                        {schedule: "0 0 1 1,4,7,10 *", want: Period{day(10, 1), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"days":                            {schedule: "@daily", want: Period{day(10, 15), day(10, 16)}},
		"hours":                           {schedule: "0 * * * *", want: Period{created.Add(-30 * time.Minute), created.Add(30 * time.Minute)}},
		"years":                           {schedule: "@yearly", want: Period{day(1, 1), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"leap days":                       {schedule: "0 0 29 2 *", want: Period{time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)}},
		"a tick at the creation":          {schedule: "30 9 * * *", want: Period{created, created.AddDate(0, 0, 1)}},
		"never":                           {schedule: "0 0 30 2 *", wantErr: "never comes due"},
		"twice an hour":                   {schedule: "0,30 8 * * *", wantErr: "within an hour"},
		"each minute of one day":          {schedule: "* * 1 1 *", wantErr: "within an hour"},
		"no schedule":                     {schedule: "0 0 0 * *", wantErr: "cannot be read"},
		"a zone":                          {schedule: "TZ=UTC", wantErr: "zone"},
		"another spelling of a zone":      {schedule: "CRON_TZ=Europe/Zurich 0 0 1 * *", wantErr: "zone"},
		"an interval that starts anytime": {schedule: "@every 24h", wantErr: "interval"},
	} {
		t.Run(name, func(t *testing.T) {
			object := &v1alpha1.Statement{Spec: v1alpha1.StatementSpec{Schedule: tc.schedule}}
			object.CreationTimestamp = metav1.NewTime(created)
			if !tc.closed.IsZero() {
				object.Status.ClosedThrough = &metav1.Time{Time: tc.closed}
			}
			got, err := Next(object)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("Next = %v, %v, want an error of %q", got, err, tc.wantErr)
				}
				return
			}
			if err != nil || *got != tc.want {
				t.Errorf("Next = %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	monthly := func(s *v1alpha1.Statement) { s.Spec.Period, s.Spec.Schedule = nil, "@monthly" }
	done := func(s *v1alpha1.Statement) { s.Status.ClosedThrough = &metav1.Time{Time: october.To} }
	due := october.To.Add(ClosingDelay)
	document := &Summary{From: october.From, To: october.To, Entries: 3, Parts: []Part{{Name: "a"}, {Name: "b"}}}
	held := &payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "no answer", RetryAfter: time.Minute}
	for name, tc := range map[string]struct {
		change     func(*v1alpha1.Statement)
		closed     *Summary
		held       *payment.Obstacle
		now        time.Time
		wantClose  bool
		wantReady  metav1.ConditionStatus
		wantReason string
		wantAfter  time.Duration
	}{
		"a period that is not over":           {now: day(10, 31), wantReady: "Unknown", wantReason: v1alpha1.ReasonPeriodNotOver, wantAfter: 24*time.Hour + ClosingDelay},
		"a period that ended just now":        {now: due.Add(-time.Second), wantReady: "Unknown", wantReason: v1alpha1.ReasonPeriodNotOver, wantAfter: time.Second},
		"a period that is over":               {now: due, wantClose: true},
		"a period that is held":               {now: due, held: held, wantReady: "Unknown", wantReason: v1alpha1.ReasonServiceUnavailable, wantAfter: time.Minute},
		"a period at a dead end":              {now: due, held: &payment.Obstacle{Reason: v1alpha1.ReasonListNotAvailable, Message: "no", DeadEnd: true, RetryAfter: time.Hour}, wantReady: "False", wantReason: v1alpha1.ReasonListNotAvailable, wantAfter: time.Hour},
		"a period that was written now":       {now: due, closed: document, wantReady: "True", wantReason: v1alpha1.ReasonStatementWritten},
		"a period that was written long ago":  {now: day(12, 31), change: done, wantReady: "True", wantReason: v1alpha1.ReasonStatementWritten},
		"a schedule before its first tick":    {now: day(10, 31), change: monthly, wantReady: "True", wantReason: v1alpha1.ReasonScheduled, wantAfter: 24*time.Hour + ClosingDelay},
		"a schedule right after a tick":       {now: october.To, change: monthly, wantReady: "True", wantReason: v1alpha1.ReasonScheduled, wantAfter: ClosingDelay},
		"a schedule that is due":              {now: due, change: monthly, wantClose: true},
		"a schedule of which one was written": {now: due, change: monthly, closed: document, wantReady: "True", wantReason: v1alpha1.ReasonStatementWritten, wantAfter: 30 * 24 * time.Hour},
		"a schedule that is behind":           {now: day(12, 31), change: monthly, closed: document, wantReady: "Unknown", wantReason: v1alpha1.ReasonProgressing, wantAfter: time.Second},
		"a schedule between two ticks":        {now: day(11, 30), change: func(s *v1alpha1.Statement) { monthly(s); done(s) }, wantReady: "True", wantReason: v1alpha1.ReasonStatementWritten, wantAfter: 24*time.Hour + ClosingDelay},
		"a schedule that is none":             {now: due, change: func(s *v1alpha1.Statement) { s.Spec.Period, s.Spec.Schedule = nil, "@never" }, wantReady: "False", wantReason: v1alpha1.ReasonInvalidSpec},
	} {
		t.Run(name, func(t *testing.T) {
			object := statementOf(v1alpha1.FormatCSV)
			if tc.change != nil {
				tc.change(object)
			}
			before := object.DeepCopy()
			got := Decide(Facts{Statement: object, Closed: tc.closed, Held: tc.held}, tc.now)
			if diff := cmp.Diff(before, object); diff != "" {
				t.Errorf("the statement changed (-before +after):\n%s", diff)
			}
			if (got.Close != nil) != tc.wantClose || got.RequeueAfter != tc.wantAfter {
				t.Fatalf("close %v, again after %v, want %t and %v", got.Close, got.RequeueAfter, tc.wantClose, tc.wantAfter)
			}
			if tc.wantClose {
				if *got.Close != october {
					t.Errorf("the period is %v", got.Close)
				}
				return
			}
			ready := got.Status.Conditions[0]
			if ready.Type != v1alpha1.ConditionReady || ready.Status != tc.wantReady || ready.Reason != tc.wantReason {
				t.Errorf("%s is %s for %s, want %s for %s", ready.Type, ready.Status, ready.Reason, tc.wantReady, tc.wantReason)
			}
			if tc.closed != nil && (len(got.Status.DocumentRefs) != 2 || !got.Status.ClosedThrough.Time.Equal(october.To) || *got.Status.Entries != 3) {
				t.Errorf("the status is %+v", got.Status)
			}
		})
	}
}

func statementOf(format v1alpha1.StatementFormat) *v1alpha1.Statement {
	object := &v1alpha1.Statement{ObjectMeta: metav1.ObjectMeta{Name: "books", CreationTimestamp: metav1.NewTime(day(10, 15))}}
	object.Spec = v1alpha1.StatementSpec{
		Format: format, Source: v1alpha1.SourceService, HistoryLimit: 2,
		Period: &v1alpha1.StatementPeriod{From: metav1.NewTime(october.From), To: metav1.NewTime(october.To)},
	}
	return object
}

// TestHistory names the latest documents with all of their parts.
func TestHistory(t *testing.T) {
	var status v1alpha1.StatementStatus
	for month := range time.Month(5) {
		closed(&status, 2, &Summary{From: day(month+1, 1), To: day(month+2, 1), Parts: []Part{{Name: fmt.Sprint(month, 1)}, {Name: fmt.Sprint(month, 2)}}})
	}
	var got []string
	for _, ref := range status.DocumentRefs {
		got = append(got, fmt.Sprintf("%s part %d from %s", ref.Name, ref.Part, ref.From.UTC().Format(time.DateOnly)))
	}
	want := []string{
		"January 1 part 1 from 2026-04-01", "January 2 part 2 from 2026-04-01", "January 1 part 1 from 2026-05-01", "January 2 part 2 from 2026-05-01",
	}
	for i := range want {
		want[i] = strings.Replace(want[i], "January", fmt.Sprint(time.Month(3+i/2)), 1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
}

func TestSumOverflows(t *testing.T) {
	most := Entry{State: Succeeded, Asset: usdt, Direction: v1alpha1.DirectionIn, Amount: new(int64(math.MaxInt64))}
	if _, err := Sum([]Entry{most, {State: Succeeded, Asset: usdt, Direction: v1alpha1.DirectionIn, Amount: new(int64(1))}}); err == nil {
		t.Error("a sum beyond 64 bits is no error")
	}
	if got, err := Sum([]Entry{most, {State: Pending, Asset: usdt, Direction: v1alpha1.DirectionIn, Amount: new(int64(1))}}); err != nil || got[0].Amount != math.MaxInt64 {
		t.Errorf("Sum = %v, %v", got, err)
	}
}

func TestHarmless(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"a name":                     {"rent-2026.10", "rent-2026.10"},
		"an asset":                   {"rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8", "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"},
		"an RGB invoice":             {"rgb:~/~/50+bcrt:utxob:Ab?expiry=1&endpoints=rpc://x:1", "rgb:~/~/50+bcrt:utxob:Ab?expiry=1&endpoints=rpc://x:1"},
		"a revision":                 {"main@sha1:0a1b", "main@sha1:0a1b"},
		"nothing":                    {"", ""},
		"a formula":                  {`=HYPERLINK("https://x","y")`, "'=HYPERLINK__https://x___y__"},
		"a sum":                      {"+1+2", "'+1+2"},
		"a difference":               {"-1", "'-1"},
		"a function":                 {"@SUM(A1)", "'@SUM_A1_"},
		"a formula behind a tab":     {"\t=1", "'_=1"},
		"a formula in the next cell": {"x,=1;=2|=3\n=4", "x_=1_=2_=3_=4"},
		"a formula in full width":    {"＝1", "'_1"},
		"quotes":                     {`"a" 'b' \c`, "'_a___b___c"},
		"what reverses text":         {"a\u202eb", "a_b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := harmless(tc.text); got != tc.want {
				t.Errorf("harmless(%q) = %q, want %q", tc.text, got, tc.want)
			}
		})
	}
}

// someEntries draws entries as Collect makes them, with texts of anybody's.
func someEntries(t *rapid.T) []Entry {
	amount := rapid.Custom(func(t *rapid.T) *int64 {
		if rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
			return nil
		}
		return new(rapid.Int64Range(0, 1_000_000).Draw(t, "amount"))
	})
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[=+@\-a-z",;\t ]{0,12}`))
	entries := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Entry {
		return Entry{
			At:        october.From.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "at")) * time.Second),
			State:     rapid.SampledFrom([]State{Succeeded, Succeeded, Failed, Pending, Expired, Unknown}).Draw(t, "state"),
			Direction: rapid.SampledFrom([]v1alpha1.Direction{v1alpha1.DirectionIn, v1alpha1.DirectionOut}).Draw(t, "direction"),
			Method:    Lightning, Asset: rapid.SampledFrom([]string{v1alpha1.Bitcoin, usdt, "rgb:eur"}).Draw(t, "asset"),
			Amount: amount.Draw(t, "amount"), FeeSats: amount.Draw(t, "fee"), ID: text.Draw(t, "id"), Txid: text.Draw(t, "txid"),
			Destination: text.Draw(t, "destination"), Origin: Managed, Name: text.Draw(t, "name"), Revision: text.Draw(t, "revision"),
		}
	}), 0, 40).Draw(t, "entries")
	slices.SortFunc(entries, compare)
	return entries
}

// TestDocuments holds of any entries, in any order, in either format and at any size: the parts in order are the one document, each fits and
// has its digest; what is read back has every entry, adds up to the totals, and no cell is a formula.
func TestDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := someEntries(t)
		object := statementOf(rapid.SampledFrom([]v1alpha1.StatementFormat{v1alpha1.FormatCSV, v1alpha1.FormatJSON}).Draw(t, "format"))
		limit := rapid.IntRange(6<<10, 24<<10).Draw(t, "limit")
		whole, one, err := Compose(object, october, wallet, entries, MaxPart)
		if err != nil || len(whole) != 1 {
			t.Fatalf("%d ConfigMaps, %v", len(whole), err)
		}
		shuffled := rapid.Permutation(entries).Draw(t, "shuffled")
		slices.SortFunc(shuffled, compare)
		maps, summary, err := Compose(object, october, wallet, shuffled, limit)
		if err != nil {
			t.Fatal(err)
		}
		key := dataKey(object.Spec.Format)
		text, count, names := "", int64(0), map[string]bool{}
		for i, part := range maps {
			size := 0
			for _, value := range part.Data {
				size += len(value)
			}
			sum := sha256.Sum256([]byte(part.Data[key]))
			switch ref := summary.Parts[i]; {
			case size > limit:
				t.Fatalf("part %d has %d bytes, at most %d may be", i, size, limit)
			case ref.Name != part.Name || ref.SHA256 != hex.EncodeToString(sum[:]) || names[part.Name]:
				t.Fatalf("part %d is %s, and named %+v", i, part.Name, ref)
			}
			names[part.Name] = true
			text += part.Data[key]
			count += summary.Parts[i].Entries
		}
		sum := sha256.Sum256([]byte(text))
		switch {
		case text != whole[0].Data[key]:
			t.Fatalf("the parts are not the document:\n%s\n%s", text, whole[0].Data[key])
		case count != int64(len(entries)) || summary.Entries != count || summary.SHA256 != one.SHA256 || summary.SHA256 != hex.EncodeToString(sum[:]):
			t.Fatalf("%d entries, the parts say %d, the summary %d", len(entries), count, summary.Entries)
		}
		read, err := ReadSummary(maps[0].Data)
		if diff := cmp.Diff(summary, read); err != nil || diff != "" {
			t.Fatalf("the summary read back: %v (-written +read)\n%s", err, diff)
		}
		checkTotals(t, readBack(t, text, object.Spec.Format), summary.Totals)
	})
}

// readBack reads a document as a program of somebody else's does.
func readBack(t *rapid.T, text string, format v1alpha1.StatementFormat) []map[string]string {
	var rows []map[string]string
	if format == v1alpha1.FormatJSON {
		for line := range strings.Lines(text) {
			var read map[string]any
			decoder := json.NewDecoder(strings.NewReader(line))
			decoder.UseNumber()
			if err := decoder.Decode(&read); err != nil || len(read) != len(columns) {
				t.Fatalf("%v in %s", err, line)
			}
			row := map[string]string{}
			for name, value := range read {
				if value != nil {
					row[name] = fmt.Sprint(value)
				}
			}
			rows = append(rows, row)
		}
		return rows
	}
	for _, comma := range ",;\t|" { // spreadsheets split at other marks too
		reader := csv.NewReader(strings.NewReader(text))
		reader.Comma, reader.FieldsPerRecord = comma, -1
		table, err := reader.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range table {
			row := map[string]string{}
			for c, cell := range line {
				if cell != "" && strings.ContainsRune("=+-@\t\r ", rune(cell[0])) {
					t.Fatalf("split at %q, a cell is %q", comma, cell)
				}
				if comma == ',' {
					row[columns[c]] = cell
				}
			}
			if comma == ',' && i > 0 {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// checkTotals adds up what a document shows, in another way than Sum does.
func checkTotals(t *rapid.T, rows []map[string]string, totals []v1alpha1.StatementTotal) {
	sums := map[string]int64{}
	for _, row := range rows {
		if row["state"] != "Succeeded" {
			continue
		}
		at := row["asset"] + row["direction"]
		sums[at+"count"]++
		for _, name := range []string{"amount", "fee_sats"} {
			if row[name] == "" {
				sums[at+name+"unknown"]++
				continue
			}
			var value int64
			if _, err := fmt.Sscan(row[name], &value); err != nil {
				t.Fatal(err)
			}
			sums[at+name] += value
		}
	}
	found := int64(0)
	for _, total := range totals {
		at := total.Asset + string(total.Direction)
		got := []int64{total.Count, total.Amount, total.FeeSats, total.FeesUnknown}
		if want := []int64{sums[at+"count"], sums[at+"amount"], sums[at+"fee_sats"], sums[at+"fee_sats"+"unknown"]}; !slices.Equal(want, got) {
			t.Fatalf("the total of %s is %v, its entries add up to %v", at, got, want)
		}
		found += total.Count
	}
	counted := int64(0)
	for at, count := range sums {
		if strings.HasSuffix(at, "count") {
			counted += count
		}
	}
	if found != counted {
		t.Fatalf("the totals count %d entries, there are %d", found, counted)
	}
}

// TestComposeRefuses what fits into no ConfigMap, and names what fits.
func TestComposeRefuses(t *testing.T) {
	entry := Entry{At: october.From, State: Pending, Asset: usdt, Destination: strings.Repeat("x", 9<<10)}
	if _, _, err := Compose(statementOf(v1alpha1.FormatCSV), october, wallet, []Entry{entry}, 8<<10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Compose = %v, want ErrTooLarge", err)
	}
	var many []Entry
	for i := range 200 {
		many = append(many, Entry{At: october.From, State: Succeeded, Asset: fmt.Sprintf("rgb:%d", i), Amount: new(int64(1))})
	}
	if _, _, err := Compose(statementOf(v1alpha1.FormatCSV), october, wallet, many, 8<<10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Compose = %v, want ErrTooLarge", err)
	}
	long := DocumentName(strings.Repeat("a", 253), october)
	if len(long) > 253-len("-999-0123456789") || long == DocumentName(strings.Repeat("a", 252)+"b", october) {
		t.Errorf("the document of a long name is %s", long)
	}
}

// TestLargeDocument has as many entries as a busy shop makes in a month; no ConfigMap is over the limit of Kubernetes.
func TestLargeDocument(t *testing.T) {
	var in inputs
	in.Period, in.Wallet = october, wallet
	for i := range 20_000 {
		in.Payments = append(in.Payments, paid(func(p *Payment) { p.Hash, p.Inbound = hashOf(i), i%2 == 0 }))
		in.Records = append(in.Records, recordOf(func(r *Record) { r.Name, r.Hash = "ln-"+hashOf(i), hashOf(i) }))
	}
	slices.Reverse(in.Payments)
	entries, err := collect(in)
	if err != nil {
		t.Fatal(err)
	}
	maps, summary, err := Compose(statementOf(v1alpha1.FormatJSON), october, wallet, entries, MaxPart)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		size := 0
		for _, value := range m.Data {
			size += len(value)
		}
		if size > 900<<10 {
			t.Errorf("%s has %d bytes", m.Name, size)
		}
	}
	if summary.Entries < 20_000 || len(maps) < 5 {
		t.Errorf("%d entries in %d ConfigMaps", summary.Entries, len(maps))
	}
}

// TestCollectorKeepsThePeriod holds that a long list costs what its document shows, and no more.
func TestCollectorKeepsThePeriod(t *testing.T) {
	const listed, shown = 30_000, 30
	c := NewCollector(october, Wallet{"treasury", wallet}, nil)
	before := liveBytes()
	for i := range listed {
		at := october.From.Add(-time.Duration(i+1) * time.Minute)
		if i%(listed/shown) == 0 {
			at = day(10, 5)
		}
		c.Payment(Payment{
			Hash: hashOf(i), Inbound: i%2 == 0, State: Succeeded, AmountMsat: new(int64(1000 * i)), Payee: fmt.Sprintf("02%064x", i),
			CreatedAt: at, UpdatedAt: at,
		})
	}
	kept := liveBytes() - before
	entries, err := c.Entries(nil)
	if err != nil || len(entries) != shown {
		t.Fatalf("%d entries, %v, want %d", len(entries), err, shown)
	}
	// The list itself is some 9 MB, an entry with its texts some 700 bytes, a digest in a map up to 100.
	if kept > 100*listed+100_000 {
		t.Errorf("of a list of %d payments %d bytes are kept, want those of %d entries and digests of the others", listed, kept, shown)
	}
}

// TestCollectorKeepsNoRecords holds that records cost nothing that the document does not show, be they this wallet's or others', and be they
// listed or not.
func TestCollectorKeepsNoRecords(t *testing.T) {
	const many = 20_000
	c := NewCollector(october, Wallet{"treasury", wallet}, nil)
	for i := range 10 {
		c.Payment(paid(func(p *Payment) { p.Hash = hashOf(i) }))
	}
	before := liveBytes()
	for i := range many {
		record := &v1alpha1.PaymentRecord{}
		record.Name, record.Spec.Kind, record.Spec.PaymentHash = "ln-"+hashOf(i), v1alpha1.RecordLightningPayment, hashOf(i)
		record.Spec.Wallet, record.Spec.Destination = []v1alpha1.RecordWallet{wallet, other}[i%2], strings.Repeat("b", 66)
		record.Journal.Phase, record.Journal.CompletedAt = v1alpha1.RecordSucceeded, &metav1.MicroTime{Time: day(9, 7)}
		record.Journal.Holder = v1alpha1.RecordHolder{Kind: "LightningPayment", Namespace: "treasury", Name: fmt.Sprint("rent-", i)}
		c.Record(record)
	}
	if kept := liveBytes() - before; kept > 50_000 {
		t.Errorf("of %d records %d bytes are kept", many, kept)
	}
	if entries, err := c.Entries(nil); len(entries) != 0 || err != nil {
		t.Errorf("%d entries are shown, %v, want none: five are another wallet's, five were over before", len(entries), err)
	}
}

// TestWhoseRecords tells of a record by whose it is: this Wallet's, another Wallet's with the same keys, or another wallet's.
func TestWhoseRecords(t *testing.T) {
	elsewhere := v1alpha1.RecordHolder{Kind: "LightningPayment", Namespace: "tenant", Name: "theirs"}
	guest := recordOf(func(r *Record) { r.Holder, r.Wallet.Namespace = elsewhere, "treasury" })
	twin := recordOf(func(r *Record) { r.Holder, r.FeeSats, r.Destination = elsewhere, new(int64(9)), "theirs" })
	renamed := recordOf(func(r *Record) { r.Wallet.Name, r.Holder.Name = "before", "theirs" })
	away := recordOf(func(r *Record) { r.Wallet.Namespace, r.Holder.Name = "tenant", "theirs" })
	send := func(change func(*Record)) Record {
		return recordOf(func(r *Record) {
			r.Name, r.Kind, r.Hash, r.SendID, r.Txid, r.Destination = "oc-1", v1alpha1.RecordOnchainSend, "", "7", "aa", ""
			r.Asset, r.AmountSats, r.Holder.Name = &v1alpha1.AssetAmount{ID: usdt, Amount: 50}, nil, "bonus"
			if change != nil {
				change(r)
			}
		})
	}
	theirSend := send(func(r *Record) { r.Name, r.SendID, r.Holder = "oc-2", "8", elsewhere })
	transfers := []Transfer{{
		AssetID: usdt, Index: 3, Kind: TransferSend, State: Succeeded, Amount: new(int64(50)), Txid: "aa", CreatedAt: day(10, 5), UpdatedAt: day(10, 6),
	}}
	payments := []Payment{paid(nil)}
	const (
		ours, unlisted = "Managed treasury/rent ln-1 02bb fee 7", "Recorded treasury/rent ln-1 02bb fee 7"
		nameless       = "Managed /  02aa fee 9"
	)
	for name, tc := range map[string]struct {
		in   inputs
		want []string
	}{
		"listed, of this Wallet":                                {inputs{Payments: payments, Records: []Record{recordOf(nil)}}, []string{ours}},
		"listed, of this Wallet and of one with its keys":       {inputs{Payments: payments, Records: []Record{recordOf(nil), twin}}, []string{ours}},
		"listed, of one with its keys, and then of this Wallet": {inputs{Payments: payments, Records: []Record{twin, recordOf(nil)}}, []string{ours}},
		"listed, of a namespace that this Wallet lets in":       {inputs{Payments: payments, Records: []Record{guest}}, []string{"Managed tenant/theirs ln-1 02bb fee 7"}},
		"listed, of a Wallet of another namespace":              {inputs{Payments: payments, Records: []Record{twin}}, []string{nameless}},
		"listed, of a Wallet of another name":                   {inputs{Payments: payments, Records: []Record{renamed}}, []string{"Managed /  02aa fee 7"}},
		"listed, from here of a Wallet of another namespace":    {inputs{Payments: payments, Records: []Record{away}}, []string{"Managed /  02aa fee 7"}},
		"on record, of this Wallet":                             {inputs{Records: []Record{recordOf(nil)}}, []string{unlisted}},
		"on record, of a namespace that this Wallet lets in":    {inputs{Records: []Record{guest}}, []string{"Recorded tenant/theirs ln-1 02bb fee 7"}},
		"on record, of a Wallet of another namespace":           {inputs{Records: []Record{twin}}, nil},
		"on record, of a Wallet of another name":                {inputs{Records: []Record{renamed}}, nil},
		"on record, from here of a Wallet of another namespace": {inputs{Records: []Record{away}}, nil},
		"on record, a send of a Wallet of another namespace":    {inputs{Records: []Record{theirSend}}, nil},

		"a transfer of this Wallet":          {inputs{Transfers: transfers, Records: []Record{send(nil)}}, []string{"Managed treasury/bonus oc-1  fee 7"}},
		"a transfer of one with its keys":    {inputs{Transfers: transfers, Records: []Record{theirSend}}, []string{"Managed /   fee 7"}},
		"a transfer of which both say so":    {inputs{Transfers: transfers, Records: []Record{send(nil), theirSend}}, []string{"Managed treasury/bonus oc-1  fee 7"}},
		"a transfer of which both say so 2":  {inputs{Transfers: transfers, Records: []Record{theirSend, send(nil)}}, []string{"Managed treasury/bonus oc-1  fee 7"}},
		"a transfer of the node's other one": {inputs{Transfers: transfers, Records: []Record{send(func(r *Record) { r.Wallet = other })}}, nil},
		"a transfer that another wallet claims too": {
			inputs{Transfers: transfers, Records: []Record{send(nil), send(func(r *Record) { r.Wallet = other })}}, []string{"Managed treasury/bonus oc-1  fee 7"},
		},
		"a transfer that a wallet of another service claims": {
			inputs{Transfers: transfers, Records: []Record{send(func(r *Record) { r.Wallet, r.Wallet.Server = other, "https://elsewhere.test" })}},
			[]string{"Unmanaged /   fee "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.in.Period, tc.in.Wallet = october, wallet
			entries, err := collect(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, fmt.Sprintf("%s %s/%s %s %s fee %s", e.Origin, e.Namespace, e.Name, e.Record, e.Destination, number(e.FeeSats)))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEachSuccessCountsOnce holds of whatever the service and the record say of one payment: what succeeded by either's word counts in one
// month, of all, the one in which it first did by the word of either.
func TestEachSuccessCountsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(label string) time.Time { return day(1, 1).AddDate(0, 0, rapid.IntRange(0, 180).Draw(t, label)) }
		listed := paid(func(p *Payment) {
			p.CreatedAt = at("created")
			p.UpdatedAt = p.CreatedAt.AddDate(0, 0, rapid.IntRange(0, 90).Draw(t, "took"))
			p.State = rapid.SampledFrom([]State{Succeeded, Failed, Pending}).Draw(t, "listed")
			p.Inbound = rapid.Bool().Draw(t, "inbound")
		})
		record := recordOf(func(r *Record) {
			r.StartedAt = at("recorded")
			r.State = rapid.SampledFrom([]State{Succeeded, Failed, Pending, Unknown}).Draw(t, "state")
			r.CompletedAt = r.StartedAt.AddDate(0, 0, rapid.IntRange(0, 90).Draw(t, "learnt"))
			if listed.Inbound {
				r.Kind = v1alpha1.RecordLightningInvoice
			}
		})
		var want []string
		switch by, on := listed.State == Succeeded, record.State == Succeeded; {
		case by && on && record.CompletedAt.Before(listed.UpdatedAt), on && !by:
			want = []string{record.CompletedAt.Format("2006-01")}
		case by:
			want = []string{listed.UpdatedAt.Format("2006-01")}
		}
		var got []string
		for month := range time.Month(14) {
			period := Period{From: day(month+1, 1), To: day(month+2, 1)}
			entries, err := collect(inputs{Period: period, Wallet: wallet, Payments: []Payment{listed}, Records: []Record{record}})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Origin != Managed || e.Name != "rent" {
					t.Fatalf("%+v is listed and on record", e)
				}
				if e.State == Succeeded {
					got = append(got, period.From.Format("2006-01"))
				}
			}
		}
		if !slices.Equal(want, got) {
			t.Fatalf("it counts in %v, want %v", got, want)
		}
	})
}

// liveBytes is what is in use once all garbage is gone.
func liveBytes() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
