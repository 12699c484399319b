package controller_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// sentElsewhere has another client with the keys of the Wallet main send, and returns a builder of an OnchainSend that follows it.
func (w *world) sentElsewhere(name string, sats int64) *testkit.OnchainSendBuilder {
	w.t.Helper()
	own, another := w.send(name, sats), w.client()
	set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
	if err != nil {
		w.t.Fatal(err)
	}
	intent := signer.Intent{
		Kind: signer.IntentKind(v1alpha1.RecordOnchainSend), Destination: own.Obj().Spec.To.Address, AmountSats: satsOf(sats), MaxFeeSats: 5000, FeeRate: 5,
	}
	signed, err := signer.NewLocal(set).Sign(w.t.Context(), signer.Request{
		UnsignedPSBT: another.BeginSend(own.Obj().Spec.To.Address, sats), Policy: intent.Policy(), Intent: intent,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	status, body := another.EndSend(signed.PSBT)
	var answer struct {
		SendID       string `json:"send_id"`
		WithdrawalID string `json:"withdrawal_id"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.SendID+answer.WithdrawalID == "" {
		w.t.Fatalf("sending elsewhere: %d %s", status, body)
	}
	return own.Follow(answer.SendID + answer.WithdrawalID)
}

// payElsewhere has another client with the keys of the Wallet main pay a BOLT11 of so many sat.
func (w *world) payElsewhere(bolt11 string, sats int64) {
	w.t.Helper()
	another := w.client()
	set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
	if err != nil {
		w.t.Fatal(err)
	}
	intent := signer.Intent{
		Kind: signer.IntentKind(v1alpha1.RecordLightningPayment), PaymentRequest: bolt11, PaymentHash: w.hashOf(bolt11),
		AmountSats: satsOf(sats), MaxFeeSats: 3000,
	}
	policy := intent.Policy()
	policy.Assets.AllowUnproved = true // as the Wallet at the reference service does
	signed, err := signer.NewLocal(set).Sign(w.t.Context(), signer.Request{
		UnsignedPSBT: another.BeginPay(bolt11), Policy: policy, Intent: intent,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if status, body := another.EndPay(signed.PSBT); status != http.StatusOK {
		w.t.Fatalf("paying elsewhere: %d %s", status, body)
	}
}

// onlyFollowed checks how often the service was asked, by whomever, to begin and to end, and how often money moved.
func (w *world) onlyFollowed(begins, ends, moves int) {
	w.t.Helper()
	if got := w.called(sandbox.PayBegin) + w.called(sandbox.OnchainBegin); got != begins || w.ends() != ends {
		w.t.Errorf("the service was asked to begin %d times and to end %d times, want %d and %d", got, w.ends(), begins, ends)
	}
	w.paid(moves)
}

func TestFollowedSend(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			declared := w.sentElsewhere("payroll", 20_000)
			send := made(w, declared.Obj())
			w.rest(send)
			w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			if status := send.Status; status.SendID != send.Spec.SendID || status.Attempt != nil || status.CompletedAt == nil || status.ServerStatus == "" {
				t.Errorf("%+v", status)
			}
			if told := w.told(); told[v1alpha1.EventAdopted] != 1 {
				t.Errorf("a person was told %v, want Adopted once", told)
			}
			w.quiet(send)
			w.onlyFollowed(1, 1, 1) // which the other client did

			// The id is taken, whoever wants it.
			second := declared.Obj()
			second.Name = "second"
			w.create(second)
			w.rest(second)
			w.want(second, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, []string{"OnchainSend " + w.namespace + "/payroll", "nothing was sent by this resource"}})

			// Declared again it is the same send, also where its status was lost.
			w.strip(send)
			w.rest(send)
			w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.delete(send)
			w.recreate(send)
			w.rest(send)
			w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.onlyFollowed(1, 1, 1)
		})
	}
}

// TestClaimOfWhatWasFollowed claims the id of a send that is followed, and gives that up. Declared under the same name to be made, its end is lost
// on the way: the send of before is no answer to that.
func TestClaimOfWhatWasFollowed(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	followed := made(w, w.sentElsewhere("payroll", 20_000).Obj())
	w.boundary = func(call string, after bool) error {
		if !after && strings.HasPrefix(call, "K patch PaymentRecord") {
			return apierrors.NewInternalError(errors.New("injected"))
		}
		return nil
	}
	for range 3 {
		_, _ = w.reconcile(followed)
	}
	w.boundary = nil
	if claims := w.records(v1alpha1.RecordSendClaim); len(claims) != 1 {
		t.Fatalf("%d ids were claimed: the case is blind", len(claims))
	}
	w.delete(followed)
	w.pass(followed)
	w.fault(sandbox.Fault{Kind: sandbox.FaultDropRequest, Operation: sandbox.OnchainEnd})
	send := made(w, w.send("payroll", 20_000).Address(followed.Spec.To.Address).Obj())
	w.rest(send)
	w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"attempt 1 was lost"}})
	w.paid(1) // elsewhere
}

// TestFollowedSendIsAnother declares what the service does not show so.
func TestFollowedSendIsAnother(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world, send *v1alpha1.OnchainSend)
		want   verdict
	}{
		"another amount": {
			func(_ *world, s *v1alpha1.OnchainSend) { *s.Spec.AmountSats++ },
			verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"20000 sat", "declared are 20001", "nothing was sent by this resource"}},
		},
		"another destination": {
			func(w *world, s *v1alpha1.OnchainSend) { s.Spec.To = w.send("other", 1000).Obj().Spec.To },
			verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"destination", "nothing was sent by this resource"}},
		},
		"an address of another network": {
			func(_ *world, s *v1alpha1.OnchainSend) {
				s.Spec.To.Address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
			},
			verdict{"Failed", v1alpha1.ReasonWrongNetwork, nil},
		},
		"a send that there is not": {
			func(_ *world, s *v1alpha1.OnchainSend) { s.Spec.SendID = "7" },
			verdict{"Failed", v1alpha1.ReasonValidityElapsed, []string{"showed no send 7"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			send := w.sentElsewhere("payroll", 20_000).Obj()
			tc.change(w, send)
			w.create(send)
			w.pass(send)
			if tc.want.reason == v1alpha1.ReasonValidityElapsed {
				w.want(send, verdict{"Pending", v1alpha1.ReasonNotSeen, []string{"no send 7", "never makes one"}})
				w.quiet(send)
				w.clock.Step(24 * time.Hour)
			}
			w.rest(send)
			w.want(send, tc.want)
			w.onlyFollowed(1, 1, 1)
			if claims := w.records(v1alpha1.RecordSendClaim); len(claims) > 0 {
				t.Errorf("an id was claimed: %+v", claims)
			}
		})
	}
}

// TestFollowedSendOfOurOwn follows what another resource of the cluster made, and what another will be answered with.
func TestFollowedSendOfOurOwn(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	own := made(w, w.send("payroll", 20_000).Obj())
	w.rest(own)
	w.want(own, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	follower := testkit.MakeOnchainSend("follower").Namespace(w.namespace).Address(own.Spec.To.Address).AmountSats(20_000).
		ValidUntil(own.Spec.ValidUntil.Time).Follow(own.Status.SendID).Obj()
	w.create(follower)
	w.rest(follower)
	w.want(follower, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, []string{"OnchainSend " + w.namespace + "/payroll"}})
	w.onlyFollowed(1, 1, 1)
	if claim := w.claimOf(own.Status.SendID); claim.Spec.RecordRef != own.Status.RecordRef {
		t.Errorf("the id went to %s", claim.Spec.RecordRef)
	}
}

// TestFollowedSendIsDeleted deletes what follows a send that is under way.
func TestFollowedSendIsDeleted(t *testing.T) {
	w := newWorld(t, sandbox.Reference)
	w.syncWallet()
	send := made(w, w.sentElsewhere("payroll", 20_000).Obj())
	w.pass(send)
	w.want(send, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})
	w.delete(send)
	w.rest(send)
	if w.exists(send) {
		t.Errorf("it is still there: %+v", conditionsOf(send))
	}
	w.onlyFollowed(1, 1, 1)
}

// TestOneFaultAtEachCallOfAFollowedSend is TestOneFaultAtEachCall for a send that is only followed. The oracles count what the other
// client moved for it; we begin and end nothing.
func TestOneFaultAtEachCallOfAFollowedSend(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		o := operation{fmt.Sprintf("OnchainSend followed, %s service", profile), "OnchainSend", profile, func(w *world) client.Object {
			return w.sentElsewhere("payroll", 20_000).Obj()
		}}
		var steps []step
		run := func(t *testing.T, fault *singleFault, at int) (*trial, *outcome) {
			r := newTrial(t, o, fault, at)
			r.movements = 0 // what was sent before counts as the order's
			r.run()
			if fault == nil {
				steps = numbered(r.steps)
			}
			found := r.outcome()
			if begins, ends := found.calls(); begins+ends > 0 {
				t.Errorf("%d begins and %d ends of what is only followed", begins, ends)
			}
			return r, found
		}
		t.Run(o.name+"/without a fault", func(t *testing.T) {
			_, found := run(t, nil, 0)
			report(t, found)
		})
		ended := map[string]int{}
		for at := range steps {
			for _, f := range faultsAt(o, steps, at) {
				t.Run(matrixCase{operation: o, steps: steps, at: at, fault: f}.name(), func(t *testing.T) {
					r, found := run(t, f, at)
					if f.service != nil {
						r.struck = r.sandbox.Faults()[0].Hit > 0
					}
					if !r.struck {
						t.Fatalf("call %d was not made", at+1)
					}
					if ended[found.verdict()]++; found.object == nil && f.removes {
						return // what somebody else sent goes on without it
					}
					report(t, found)
					if found.verdict() != "Succeeded" {
						t.Fatalf("it ended as %s", found.verdict())
					}
					send := found.object.(*v1alpha1.OnchainSend)
					if claim := r.claimOf(send.Spec.SendID); claim.Spec.RecordRef != send.Status.RecordRef {
						t.Errorf("the id is claimed for %q, and the record is %s", claim.Spec.RecordRef, send.Status.RecordRef)
					}
				})
			}
		}
		t.Logf("%s: %d calls, %v", o.name, len(steps), ended)
	}
}

// claimOf is the claim of a send id.
func (w *world) claimOf(sendID string) *v1alpha1.PaymentRecord {
	w.t.Helper()
	claim := &v1alpha1.PaymentRecord{}
	claim.Namespace, claim.Name = w.operator, payment.SendClaimName(sendID)
	w.get(claim)
	return claim
}
