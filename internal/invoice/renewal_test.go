package invoice

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// renewed are the facts of a resource whose second renewal is the invoice of these tests: the first invoice expired an hour before it was
// issued, the second one as it was.
func renewed(t testing.TB, phase v1alpha1.InvoicePhase) Facts {
	facts := makeFacts(t, phase, true)
	facts.Invoice.Spec.Renewal, facts.Renewal = v1alpha1.RenewOnExpiry, 2
	facts.Record.Name = RenewalRecordName(invoiceUID, 2)
	facts.Invoice.Status.Renewals = 2
	if phase == v1alpha1.InvoiceRenewing {
		facts.Invoice.Status.IssueRenewal = 3
	}
	facts.Invoice.Status.History = []v1alpha1.InvoiceGeneration{
		{Renewal: 1, PaymentHash: "11", RequestID: "r1", ExpiresAt: &metav1.Time{Time: t0}, Outcome: v1alpha1.OutcomeWatched},
		{Renewal: 0, PaymentHash: "00", RequestID: "r0", ExpiresAt: &metav1.Time{Time: t0.Add(-time.Hour)}, Outcome: v1alpha1.OutcomeWatched},
	}
	return facts
}

func TestDecideRenewals(t *testing.T) {
	const (
		isOpen   = v1alpha1.InvoiceOpen
		renewing = v1alpha1.InvoiceRenewing
		settled  = v1alpha1.InvoiceSettled
		expired  = v1alpha1.InvoiceExpired
		failed   = v1alpha1.InvoiceFailed
	)
	var (
		waiting  = &payment.Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "the wallet is not ready", RetryAfter: 15 * time.Second}
		held     = &payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "no invoice yet: 502", RetryAfter: 5 * time.Second}
		refused  = &payment.Obstacle{Reason: v1alpha1.ReasonRequestRefused, Message: "InvalidAmount", DeadEnd: true}
		issues   = outcome{Step: Issue, Phase: renewing, Ready: "Unknown Progressing", Settled: "Unknown Progressing", Attempts: 1}
		payable  = outcome{Phase: isOpen, Ready: "True Open", Settled: "Unknown Open", After: time.Minute}
		paid     = outcome{Phase: settled, Ready: "True Settled", Settled: "True Settled"}
		late     = outcome{Phase: settled, Ready: "True Settled", Settled: "True Settled", Events: []string{"SettledLate"}}
		noAnswer = outcome{Phase: renewing, Ready: "Unknown ServiceUnavailable", Settled: "Unknown ServiceUnavailable", After: time.Minute}
		watched  = []v1alpha1.InvoiceOutcome{v1alpha1.OutcomeWatched, v1alpha1.OutcomeWatched}
	)
	// The look of a pass: at the latest invoice, and at the first two.
	looking := func(latest, second, first Seen) func(*Facts) {
		return func(f *Facts) { f.Sighting, f.Earlier = &latest, map[int32]Seen{1: second, 0: first} }
	}
	and := func(changes ...func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			for _, change := range changes {
				change(f)
			}
		}
	}
	attempts := func(n int32) func(*Facts) { return func(f *Facts) { f.Invoice.Status.IssueAttempts = n } }
	never := func(f *Facts) { f.Invoice.Spec.Renewal = v1alpha1.RenewNever }
	unpaid := looking(Expired, Expired, Expired)
	givenUp := func(f *Facts) {
		spec, journal := GiveUp("main", &metav1.Condition{Reason: v1alpha1.ReasonRequestRefused, Message: "three times"})
		f.Record = &v1alpha1.PaymentRecord{ObjectMeta: metav1.ObjectMeta{Name: RenewalRecordName(invoiceUID, 2)}, Spec: spec, Journal: journal}
	}
	for name, tc := range map[string]struct {
		phase    v1alpha1.InvoicePhase
		change   func(*Facts)
		now      time.Time
		want     outcome
		giveUp   bool
		outcomes []v1alpha1.InvoiceOutcome // of the history, newest first
		mentions string
	}{
		"it is payable": {phase: isOpen, change: looking(Open, Expired, Expired), want: payable, outcomes: watched},
		"it is looked at, and all that are watched": {
			phase: isOpen, want: outcome{Step: Observe, Phase: isOpen}, outcomes: watched,
		},
		"an invoice that expired unpaid is renewed": {
			phase: isOpen, change: and(attempts(3), unpaid), now: expires, want: issues, outcomes: watched, mentions: "asking the service",
		},
		"an invoice that the service calls open and the clock expired is renewed": {
			phase: isOpen, change: looking(Open, Expired, Expired), now: expires, want: issues, outcomes: watched,
		},
		"an invoice that expired in another phase is renewed": {
			phase: expired, change: and(attempts(3), unpaid), now: expires, want: issues, outcomes: watched,
		},
		"an invoice that expired long ago is looked at before it is renewed": {
			phase: expired, now: over.Add(24 * time.Hour), want: outcome{Step: Observe, Phase: expired}, outcomes: watched,
		},
		"one that failed before it expired is waited out": {
			phase: isOpen, change: looking(Failed, Expired, Expired), now: t0.Add(30 * time.Minute), outcomes: watched, mentions: "next one is issued",
			want: outcome{Phase: failed, Ready: "Unknown PaymentFailed", Settled: "Unknown PaymentFailed", After: time.Minute},
		},
		"one that failed is renewed as it expires": {phase: failed, change: looking(Failed, Expired, Expired), now: expires, want: issues, outcomes: watched},
		"an attempt that was lost counts": {
			phase: renewing, change: and(attempts(2), unpaid), now: expires, outcomes: watched,
			want: outcome{Step: Issue, Phase: renewing, Ready: "Unknown Progressing", Settled: "Unknown Progressing", Attempts: 3},
		},
		"an attempt that was lost counts whatever the service said in between": {
			phase: isOpen, change: and(attempts(2), unpaid, func(f *Facts) { f.Invoice.Status.IssueRenewal = 3 }), now: expires, outcomes: watched,
			want: outcome{Step: Issue, Phase: renewing, Ready: "Unknown Progressing", Settled: "Unknown Progressing", Attempts: 3},
		},
		"three lost answers are enough": {
			phase: renewing, change: and(attempts(3), unpaid), now: expires, giveUp: true, outcomes: watched, mentions: "declare a new",
			want: outcome{Phase: failed, Ready: "False RequestRefused", Settled: "False RequestRefused", After: time.Minute, Attempts: 3},
		},
		"a refusal for good is a dead end that is recorded": {
			phase: renewing, change: and(attempts(1), unpaid, func(f *Facts) { f.Held, f.NotIssued = refused, true }), now: expires, giveUp: true,
			want: outcome{Phase: failed, Ready: "False RequestRefused", Settled: "False RequestRefused", After: time.Minute}, outcomes: watched,
		},
		"a refusal for now is waited out and does not count": {
			phase: renewing, change: and(attempts(3), unpaid, func(f *Facts) { f.Held, f.NotIssued = held, true }), now: expires, outcomes: watched,
			want: outcome{Phase: renewing, Ready: "Unknown ServiceUnavailable", Settled: "Unknown ServiceUnavailable", After: 5 * time.Second, Attempts: 2},
		},
		"a wallet that is not ready issues none": {
			phase: isOpen, change: and(unpaid, func(f *Facts) { f.NoIssuing = waiting }), now: expires, outcomes: watched,
			want: outcome{Phase: renewing, Ready: "Unknown WalletNotReady", Settled: "Unknown WalletNotReady", After: 15 * time.Second},
		},
		"a wallet that is not ready hides nothing": {
			phase: isOpen, change: and(looking(Open, Expired, Expired), func(f *Facts) { f.NoIssuing = waiting }), want: payable, outcomes: watched,
		},
		"it is not renewed before the service answers": {
			phase: isOpen, change: looking(NoAnswer, Expired, Expired), now: expires, want: noAnswer, outcomes: watched,
			mentions: "once the service tells",
		},
		"it is not renewed before the service answers, however long that takes": {
			phase: isOpen, change: looking(NoAnswer, NoAnswer, NoAnswer), now: over.Add(time.Hour), want: noAnswer, outcomes: watched,
		},
		"it is not renewed without its wallet": {
			phase: isOpen, change: func(f *Facts) { f.Waiting = waiting }, now: expires, outcomes: watched, mentions: "the wallet is not ready",
			want: outcome{Phase: renewing, Ready: "Unknown WalletNotReady", Settled: "Unknown WalletNotReady", After: time.Minute},
		},
		"an expired one that nobody could look at is looked at again": {
			phase: expired, change: looking(NoAnswer, Expired, Expired), now: over.Add(time.Hour), outcomes: []v1alpha1.InvoiceOutcome{"Expired", "Expired"},
			want: outcome{Phase: expired, After: time.Minute},
		},
		"what may have been paid unseen is not renewed": {
			phase: isOpen, change: looking(Lost, Expired, Expired), now: expires, outcomes: watched, mentions: "ask the payer",
			want: outcome{Phase: expired, Ready: "False InvoiceExpired", Settled: "Unknown StatusSourceLost", After: time.Minute},
		},
		"what failed and may have been paid unseen is not renewed": {
			phase: failed, change: looking(Lost, Expired, Expired), now: expires, outcomes: watched,
			want: outcome{Phase: expired, Ready: "False InvoiceExpired", Settled: "Unknown StatusSourceLost", After: time.Minute},
		},
		"one that does not renew any more expires": {
			phase: isOpen, change: and(unpaid, never), now: expires, outcomes: watched,
			want: outcome{Phase: expired, Ready: "False InvoiceExpired", Settled: "False InvoiceExpired", After: time.Minute},
		},
		"one that was renewing and does not any more expires": {
			phase: renewing, change: and(unpaid, never), now: expires, outcomes: watched,
			want: outcome{Phase: expired, Ready: "False InvoiceExpired", Settled: "False InvoiceExpired", After: time.Minute},
		},
		"it is paid": {phase: isOpen, change: looking(Settled, Expired, Expired), want: paid, outcomes: watched},
		"the one before is paid": {
			phase: isOpen, change: looking(Open, Settled, Expired), want: late, outcomes: []v1alpha1.InvoiceOutcome{"Settled", "Watched"}, mentions: "status.history",
		},
		"the one before is paid as the latest is to be renewed": {
			phase: renewing, change: looking(Expired, Settled, Expired), now: expires, want: late, outcomes: []v1alpha1.InvoiceOutcome{"Settled", "Watched"},
		},
		"all are paid: the first settles it": {
			phase: isOpen, change: looking(Settled, Settled, Settled), want: late, outcomes: []v1alpha1.InvoiceOutcome{"Watched", "Settled"},
		},
		"it was settled before": {
			phase: settled, change: func(f *Facts) { f.Invoice.Status.History[0].Outcome = v1alpha1.OutcomeSettled }, want: paid,
			outcomes: []v1alpha1.InvoiceOutcome{"Settled", "Watched"}, mentions: "status.history",
		},
		"its status was lost and a record says that one was paid": {
			change: func(f *Facts) {
				f.Invoice.Status = v1alpha1.LightningInvoiceStatus{}
				f.Past = []v1alpha1.InvoiceGeneration{{Renewal: 1, Outcome: v1alpha1.OutcomeSettled, SettledAt: &metav1.Time{Time: t0}}}
			},
			want: paid, outcomes: []v1alpha1.InvoiceOutcome{"Settled"},
		},
		"what was watched long enough was not paid": {
			phase: isOpen, change: looking(Open, Expired, Open), now: t0.Add(LateSettlement - time.Hour),
			want: issues, outcomes: []v1alpha1.InvoiceOutcome{"Watched", "Expired"},
		},
		"what the service lost is unknown once it was watched long enough": {
			phase: isOpen, change: looking(Open, Lost, Lost), now: t0.Add(LateSettlement - time.Hour), want: issues,
			outcomes: []v1alpha1.InvoiceOutcome{"Watched", "Unknown"},
		},
		"without an answer an earlier one is watched on": {
			phase: isOpen, change: looking(Open, NoAnswer, NoAnswer), now: t0.Add(LateSettlement), want: issues, outcomes: watched,
		},
		"a renewal that was given up is a dead end, and what was renewed is looked at": {
			phase: renewing, change: givenUp, want: outcome{Step: Observe, Phase: renewing}, outcomes: watched,
		},
		"a renewal that was given up": {
			phase: renewing, change: and(givenUp, func(f *Facts) { f.Earlier = map[int32]Seen{1: Expired, 0: Expired} }), outcomes: watched, mentions: "three times",
			want: outcome{Phase: failed, Ready: "False RequestRefused", Settled: "False RequestRefused", After: time.Minute},
		},
		"a renewal that was given up, and the one before is paid": {
			phase: failed, change: and(givenUp, func(f *Facts) { f.Earlier = map[int32]Seen{1: Settled} }), want: late,
			outcomes: []v1alpha1.InvoiceOutcome{"Settled", "Watched"},
		},
		"a renewal that was given up, without its wallet": {
			phase: failed, change: and(givenUp, func(f *Facts) { f.Waiting = waiting }), outcomes: watched,
			want: outcome{Phase: failed, Ready: "False RequestRefused", Settled: "False RequestRefused", After: time.Minute},
		},
		"it is deleted": {
			phase: isOpen, change: and(unpaid, func(f *Facts) { f.Deleting = true }), now: expires, want: outcome{Phase: isOpen}, outcomes: watched,
		},
		"more cannot be watched": {
			phase: isOpen, now: expires, change: and(unpaid, func(f *Facts) {
				f.Invoice.Status.History = nil
				for n := range int32(v1alpha1.MaxInvoiceHistory) {
					f.Invoice.Status.History = append(f.Invoice.Status.History, v1alpha1.InvoiceGeneration{
						Renewal: n, ExpiresAt: &metav1.Time{Time: expires}, Outcome: v1alpha1.OutcomeWatched,
					})
				}
			}),
			want:     outcome{Phase: renewing, Ready: "Unknown Progressing", Settled: "Unknown Progressing", After: time.Minute},
			outcomes: slices.Repeat([]v1alpha1.InvoiceOutcome{"Watched"}, v1alpha1.MaxInvoiceHistory), mentions: "as many",
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := renewed(t, tc.phase)
			if tc.change != nil {
				tc.change(&facts)
			}
			now := tc.now
			if now.IsZero() {
				now = t0.Add(5 * time.Minute)
			}
			before := facts.Invoice.DeepCopy()
			decision := Decide(facts, now)
			if diff := cmp.Diff(tc.want, outcomeOf(decision)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, facts.Invoice); diff != "" {
				t.Errorf("Decide changed its facts (-before +after):\n%s", diff)
			}
			var outcomes []v1alpha1.InvoiceOutcome
			for _, past := range decision.Status.History {
				outcomes = append(outcomes, past.Outcome)
			}
			if diff := cmp.Diff(tc.outcomes, outcomes); diff != "" || decision.GiveUp != tc.giveUp {
				t.Errorf("outcomes of the history (-want +got), gives up: %t:\n%s", decision.GiveUp, diff)
			}
			if ready := meta.FindStatusCondition(decision.Status.Conditions, v1alpha1.ConditionReady); ready != nil && !strings.Contains(ready.Message, tc.mentions) {
				t.Errorf("%q does not mention %q", ready.Message, tc.mentions)
			}
			if decision.Step == Rest && len(decision.Status.Conditions) > 0 {
				facts.Invoice.Status = decision.Status
				if err := testkit.CheckStatus(facts.Invoice); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestRenewalRecords holds that each renewal of each resource has a record of its own, under a name that the API server takes.
func TestRenewalRecords(t *testing.T) {
	seen := map[string]string{}
	for _, uid := range []string{invoiceUID, "a", "a-1", "1"} {
		for _, renewal := range []int32{0, 1, 2, 11, 1<<31 - 1} {
			name, of := RenewalRecordName(uid, renewal), fmt.Sprint(uid, " ", renewal)
			if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
				t.Errorf("%s is none: %v", name, wrong)
			}
			if other, ok := seen[name]; ok && uid == invoiceUID {
				t.Errorf("%s and %s have the record %s", of, other, name)
			}
			seen[name] = of
		}
	}
	object := testkit.MakeLightningInvoice("order").Obj()
	object.UID = "u"
	if diff := cmp.Diff([]string{"in-u", "in-u-1"}, RecordNames(object)); diff != "" {
		t.Errorf("records of one that was not renewed (-want +got):\n%s", diff)
	}
	object.Status.Renewals = 30
	names := RecordNames(object)
	if names[0] != "in-u-10" || names[len(names)-1] != "in-u-31" || len(names) != 22 {
		t.Errorf("records of one that was renewed: %v", names)
	}
}

// TestNoHistoryLosesAPayment draws what may happen to an invoice that renews: no generation is published twice, none but an expired one that
// the service showed to be unpaid is renewed, the attempts at each are counted, and a payment of any, in its time, settles the resource once.
func TestNoHistoryLosesAPayment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := testkit.MakeLightningInvoice("order").AmountSats(5000).Renews().Obj()
		object.UID, object.Generation = invoiceUID, 1
		var (
			now     = t0
			records = map[int32]*v1alpha1.PaymentRecord{}
			asked   = map[int32]int{}
			paid    = map[int32]bool{}
			settles int
			quiet   bool
		)
		choose := func(n int, what string) int {
			if quiet {
				return 0
			}
			return rapid.IntRange(0, n-1).Draw(t, what)
		}
		truth := func(renewal int32) Seen {
			issued, err := bolt11.Decode(records[renewal].Spec.PaymentRequest)
			switch {
			case err != nil:
				t.Fatal(err)
			case paid[renewal]:
				return Settled
			case issued.Expired(now):
				return Expired
			}
			return Open
		}
		publish := func(renewal int32) {
			text := encodeAt(t, now, renewal)
			issued, err := bolt11.Decode(text)
			if err != nil || records[renewal] != nil {
				t.Fatalf("renewal %d is published twice, or %v", renewal, err)
			}
			records[renewal] = &v1alpha1.PaymentRecord{
				ObjectMeta: metav1.ObjectMeta{Name: RenewalRecordName(invoiceUID, renewal), CreationTimestamp: metav1.NewTime(now)},
				Spec:       RecordSpec(issued, text, fmt.Sprint("request-", renewal), v1alpha1.RecordWallet{}, nil),
			}
		}
		pass := func() {
			facts := Facts{Invoice: object, Renewal: object.Status.Renewals}
			for records[facts.Renewal+1] != nil {
				facts.Renewal++
			}
			facts.Record = records[facts.Renewal]
			for renewal := facts.Renewal - 1; renewal >= 0 && facts.Renewal > object.Status.Renewals; renewal-- {
				facts.Past = append(facts.Past, PastOf(records[renewal], renewal))
			}
			for range 6 {
				d := Decide(facts, now)
				if d.GiveUp {
					return // which the cases of Decide are about
				}
				if d.Journal != nil {
					records[facts.Renewal].Journal = *d.Journal
				}
				if p := d.PaidEarlier; p != nil {
					records[p.Renewal].Journal = *SettledJournal(records[p.Renewal], *p.SettledAt)
				}
				if d.Step == Observe {
					facts.Sighting = new([...]Seen{truth(facts.Renewal), NoAnswer}[choose(2, "look")])
					facts.Earlier = map[int32]Seen{}
					for _, past := range Watched(&d.Status) {
						facts.Earlier[past.Renewal] = [...]Seen{truth(past.Renewal), NoAnswer}[choose(2, "look at an earlier one")]
					}
					continue
				}
				if choose(8, "the write of the status fails") == 7 {
					return
				}
				if object.Status.Phase != v1alpha1.InvoiceSettled && d.Status.Phase == v1alpha1.InvoiceSettled {
					settles++
				}
				object.Status = d.Status
				if d.Step == Rest {
					return
				}
				next := int32(0)
				if facts.Record != nil {
					if next = facts.Renewal + 1; truth(facts.Renewal) != Expired {
						t.Fatalf("renewal %d is asked for while the one before is %v", next, truth(facts.Renewal))
					}
				}
				if asked[next]++; asked[next] > MaxIssueAttempts {
					t.Fatalf("renewal %d was asked for %d times", next, asked[next])
				}
				if choose(4, "answer") == 3 {
					return // crashed, and the answer is lost
				}
				publish(next)
				if choose(5, "crash after publishing") == 4 {
					return
				}
				if facts.Record != nil {
					facts.Past = append(facts.Past, PastOf(facts.Record, facts.Renewal))
				}
				facts.Renewal, facts.Record, facts.Sighting = next, records[next], new(Open)
			}
			t.Fatal("no rest")
		}
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			switch choose(4, "event") {
			case 0, 1:
				pass()
			case 2:
				now = now.Add([]time.Duration{time.Minute, 20 * time.Minute, time.Hour}[choose(3, "time")])
			case 3: // somebody pays one that was published, if it is in time for the node
				renewal := int32(choose(4, "paid"))
				if record := records[renewal]; record != nil && now.Before(PastOf(record, renewal).ExpiresAt.Add(2*time.Hour)) {
					paid[renewal] = true
				}
			}
		}
		quiet = true
		for range 3 {
			pass()
			now = now.Add(time.Minute)
		}
		failed := object.Status.Phase == v1alpha1.InvoiceFailed || asked[object.Status.Renewals+1] >= MaxIssueAttempts || records[0] == nil
		switch {
		case settles > 1:
			t.Fatalf("settled %d times", settles)
		case settles == 1 && len(paid) == 0:
			t.Fatal("settled, and nobody paid")
		case settles == 0 && len(paid) > 0 && !failed:
			t.Fatalf("paid %v, and %s: %+v", paid, object.Status.Phase, object.Status.History)
		}
	})
}

// encodeAt returns an invoice of 5,000 sat, an hour long, of that renewal.
func encodeAt(t rapid.TB, now time.Time, renewal int32) string {
	invoice := &bolt11.Invoice{
		Prefix: "bcrt", Amount: new(amount.MilliSat(5_000_000)), PaymentHash: [32]byte{1, 2, byte(renewal)}, PaymentSecret: [32]byte{4},
		Timestamp: now, Expiry: time.Hour, MinFinalCLTVExpiry: 18, Features: bolt11.Features{8, 14, 17},
	}
	text, err := bolt11.Encode(invoice, key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
