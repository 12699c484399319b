package payment

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/readiness"
)

const (
	assetID      = "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
	otherAssetID = "rgb:CJkb4YZw-jRiz2sk-~PARPio-wtVYI1c-XAEYCqO-wTfvRZ8"
	recordUID    = "5b0e7a2c-6d0f-4b57-9d7c-0d6f6c3f1a11"
	sendID       = "0f8fad5b-d9cb-469f-a165-70867728950e"
)

// The instants of a payment: t0 is when its attempt begins, submitted when its end is written down, notAfter when that can no longer be
// written, landed when it can no longer land.
var (
	policy    = DefaultPolicy()
	t0        = time.Date(2026, time.January, 1, 12, 0, 0, 0, time.UTC)
	submitted = t0.Add(time.Second)
	notAfter  = t0.Add(21 * time.Second)
	landed    = notAfter.Add(policy.Quarantine)
	// signBefore is until when people may sign the attempt, where they have to.
	signBefore = t0.Add(15 * time.Minute)
)

func makeWallet() v1alpha1.RecordWallet {
	return v1alpha1.RecordWallet{Name: "main", MasterFingerprint: "1f5bd7df", XpubVanilla: "tpubVanilla", Server: "https://utexo.invalid"}
}

func makeHolder(kind, name string) v1alpha1.RecordHolder {
	return v1alpha1.RecordHolder{Kind: kind, Namespace: "shop", Name: name, UID: "uid-of-" + name}
}

func makeLightningOrder() *Order {
	return &Order{
		Kind: v1alpha1.RecordLightningPayment, Holder: makeHolder("LightningPayment", "rent"), Wallet: makeWallet(),
		PaymentRequest: "lnbcrt50u1rent", PaymentHash: strings.Repeat("0a", 32), Destination: "02" + strings.Repeat("0b", 32),
		AmountSats: 5000, MaxFeeSats: 100, StartBefore: t0.Add(time.Hour),
	}
}

func makeOnchainOrder() *Order {
	return &Order{
		Kind: v1alpha1.RecordOnchainSend, Holder: makeHolder("OnchainSend", "payout"), Wallet: makeWallet(),
		Destination: "bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0", AmountSats: 100_000, MaxFeeSats: 2000, FeeRate: 2,
		StartBefore: t0.Add(time.Hour),
	}
}

func makeAssetOrder() *Order {
	order := makeOnchainOrder()
	order.AmountSats, order.Asset = 0, &v1alpha1.AssetAmount{ID: assetID, Amount: 10}
	return order
}

func makeSigned() Signed {
	return Signed{
		Txid: strings.Repeat("7", 64), Digest: strings.Repeat("d", 64), Inputs: []string{strings.Repeat("1", 64) + ":0"},
		Plan: v1alpha1.OnchainPlan{OutflowSats: 100_300, FeeSats: 300},
	}
}

// makeJournal returns the journal of an order in its first attempt, on the ordinary way to phase.
func makeJournal(order *Order, phase v1alpha1.RecordPhase) v1alpha1.PaymentJournal {
	claimed := NewJournal(order)
	began := Begin(claimed, true, t0)
	awaiting := AwaitingSignature(began, makeSigned(), signBefore)
	submitting := Submitting(began, makeSigned(), submitted, notAfter)
	inFlight := submitting
	inFlight.Phase, inFlight.RequestID = v1alpha1.RecordSubmitted, requestID(order)
	switch phase {
	case v1alpha1.RecordClaimed:
		return claimed
	case v1alpha1.RecordBegan:
		return began
	case v1alpha1.RecordAwaitingSignature:
		return awaiting
	case v1alpha1.RecordSubmitting:
		return submitting
	case v1alpha1.RecordSubmitted:
		return inFlight
	case v1alpha1.RecordSucceeded:
		next, _ := Sighted(order, inFlight, Sighting{Presence: Outbound, State: StateSucceeded}, v1alpha1.ProfileReference, policy, t0.Add(2*time.Second))
		return next
	case v1alpha1.RecordFailed:
		return GiveUp(inFlight, v1alpha1.ReasonPaymentFailed, "it failed", t0.Add(40*time.Second))
	case v1alpha1.RecordCancelled:
		return GiveUp(began, v1alpha1.ReasonCancelled, "deleted", t0.Add(2*time.Second))
	case v1alpha1.RecordUnknown:
		return Undecidable(submitting, "nobody knows", t0.Add(2*time.Second))
	}
	panic("no journal in phase " + phase)
}

// requestID is the id under which the service knows order.
func requestID(order *Order) string {
	if order.Kind == v1alpha1.RecordLightningPayment {
		return order.PaymentHash
	}
	return sendID
}

func makeRecord(order *Order, journal v1alpha1.PaymentJournal) *v1alpha1.PaymentRecord {
	return &v1alpha1.PaymentRecord{
		ObjectMeta: metav1.ObjectMeta{Name: order.RecordName(), UID: recordUID, CreationTimestamp: metav1.NewTime(t0.Add(-time.Minute))},
		Spec:       order.RecordSpec(), Journal: journal,
	}
}

// makeFacts returns what is known of order, whose record is in phase; "" is no record. The fee was estimated, the service answers
// repetitions, and nothing stands in the way.
func makeFacts(order *Order, phase v1alpha1.RecordPhase) Facts {
	facts := Facts{Order: order, Profile: v1alpha1.ProfileReference}
	if order.Kind == v1alpha1.RecordLightningPayment {
		facts.FeeEstimateSats = new(int64(10))
	}
	if facts.PeopleSign = phase == v1alpha1.RecordAwaitingSignature; facts.PeopleSign {
		facts.Given = &Given{Attempt: 1}
	}
	if phase != "" {
		facts.Record = makeRecord(order, makeJournal(order, phase))
	}
	return facts
}

// outcome is what a case says of a Decision.
type outcome struct {
	Step Step
	// Written is the phase of the journal to write; empty where none is written.
	Written v1alpha1.RecordPhase
	// Phase, Outcome and Reason are what the status then says, where the step is Rest.
	Phase   v1alpha1.PaymentPhase
	Outcome readiness.Outcome
	Reason  string
	After   time.Duration
	// Hold keeps the resource from going, where the step is Rest.
	Hold   bool
	Events []string
}

func outcomeOf(d Decision) outcome {
	got := outcome{Step: d.Step, After: d.RequeueAfter}
	if d.Journal != nil {
		got.Written = d.Journal.Phase
	}
	if d.Step == Rest {
		got.Phase, got.Outcome, got.Reason = d.Projection.Phase, d.Projection.Summary.Outcome, d.Projection.Summary.Reason
		got.Hold = d.Hold
	}
	for _, event := range d.Events {
		got.Events = append(got.Events, event.Reason)
	}
	return got
}

// rests is the outcome of a payment that waits, in progress.
func rests(phase v1alpha1.PaymentPhase, reason string, after time.Duration) outcome {
	return outcome{Phase: phase, Reason: reason, After: after, Hold: true}
}

// ends is the outcome of a payment at a dead end.
func ends(phase v1alpha1.PaymentPhase, reason string) outcome {
	return outcome{Phase: phase, Outcome: readiness.DeadEnd, Reason: reason, Hold: phase == v1alpha1.PaymentUnknown}
}

// holding is the outcome with the resource kept.
func (o outcome) holding() outcome {
	o.Hold = true
	return o
}

// unheld is the outcome with the resource free to go.
func (o outcome) unheld() outcome {
	o.Hold = false
	return o
}

// writing is the outcome with a journal in phase to write.
func (o outcome) writing(phase v1alpha1.RecordPhase) outcome {
	o.Written = phase
	return o
}

func (o outcome) emitting(reasons ...string) outcome {
	o.Events = reasons
	return o
}

func (o outcome) after(wait time.Duration) outcome {
	o.After = wait
	return o
}

// assertJournal compares journals; a nil and an empty list are one.
func assertJournal(t *testing.T, got, want v1alpha1.PaymentJournal) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func assertMentions(t *testing.T, text string, mentions ...string) {
	t.Helper()
	for _, mention := range mentions {
		if !strings.Contains(text, mention) {
			t.Errorf("%q does not mention %q", text, mention)
		}
	}
}
