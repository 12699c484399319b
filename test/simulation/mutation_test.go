package simulation

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// mutation takes a rule of the protocol away, or makes an oracle's case, from outside the product: in what its API server stores, its
// service answers or its numbers are.
type mutation struct {
	rules  rules
	policy func(*payment.Policy)
	tune   func(*controller.Controllers)
	// read changes what is read from the API server.
	read func(client.Object)
	// answer changes what the client is answered, after the judge saw the answer.
	answer func(s *sim, t *task, operation string, a *answer)
	// shards gives each replica a shard of its own.
	shards bool
	// resend makes the transport send again what had no answer, late lets it send after notAfter.
	resend, late bool
	// faults are put at the service from the start; evils come instead of all others.
	faults []sandbox.Fault
	evils  []evil
	// extra is what each seed has.
	extra extra
}

// quarantineOf sets the quarantine of the wallets' Leases alone.
func quarantineOf(d time.Duration) func(*controller.Controllers) {
	return func(c *controller.Controllers) { c.Spender.Locks.Quarantine = d }
}

// often is a fault that strikes many calls of an operation.
func often(kind sandbox.FaultKind, operation sandbox.Operation) sandbox.Fault {
	return sandbox.Fault{Kind: kind, Operation: operation, Nth: 1, Count: 4, Delay: sandbox.Duration(20 * time.Second)}
}

// pauseAt arms pauses before calls of a name.
func pauseAt(call string) func(*sim) {
	return func(s *sim) {
		s.faults = append(s.faults, &kubeFault{kind: "pause", call: call, count: 1, skip: s.random.IntN(2), duration: s.pick([]time.Duration{
			time.Second, 10 * time.Second, 40 * time.Second,
		})})
	}
}

// rewrite replaces the value of a string member of a JSON answer.
func rewrite(body []byte, member, value string) []byte {
	return regexp.MustCompile(`"`+member+`":"[^"]*"`).ReplaceAll(body, []byte(`"`+member+`":"`+value+`"`))
}

// message changes what the condition Ready of a payment says.
func message(object client.Object, edit func(string) string) {
	var conditions []metav1.Condition
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		conditions = o.Status.Conditions
	case *v1alpha1.OnchainSend:
		conditions = o.Status.Conditions
	}
	for i := range conditions {
		if conditions[i].Type == v1alpha1.ConditionReady {
			conditions[i].Message = edit(conditions[i].Message)
		}
	}
}

// TestEachRuleIsNeeded removes the rules of docs/protocol.md one at a time, and makes the other oracles' cases. Each must be caught, by the
// oracle that is there for it, within the seeds that it is given.
func TestEachRuleIsNeeded(t *testing.T) {
	for name, tc := range map[string]struct {
		mutation
		caughtBy []string
		within   uint64
	}{
		"R1: a record is written whatever was written to it since": {
			mutation: mutation{rules: rules{blindPatches: "PaymentRecord"}, evils: []evil{{1, (*sim).deleteOne}, {1, pauseAt("patch Lease")}}},
			caughtBy: []string{"I5", "I6", "I9", "I10"}, within: 300,
		},
		"R1: a record is created over one that is there": {
			mutation: mutation{
				rules: rules{overwrites: func(key objectKey) bool { return strings.HasPrefix(key.name, "ln-") }},
				evils: []evil{{1, pauseAt("create PaymentRecord")}},
			},
			caughtBy: []string{"I6", "I9", "I10"}, within: 300,
		},
		"R2: the end is not written ahead": {
			mutation: mutation{rules: rules{swallows: func(before, after client.Object) bool {
				was, ok := before.(*v1alpha1.PaymentRecord)
				return ok && was.Journal.Phase == v1alpha1.RecordBegan && after.(*v1alpha1.PaymentRecord).Journal.Phase == v1alpha1.RecordSubmitting
			}}}, caughtBy: []string{"I5"}, within: 5,
		},
		"R3: the Lease keeps nobody out": {
			mutation: mutation{rules: rules{blindPatches: "Lease"}, read: func(object client.Object) {
				if lease, ok := object.(*coordinationv1.Lease); ok {
					lease.Spec.HolderIdentity = nil
					delete(lease.Annotations, walletlock.InflightAnnotation)
				}
			}}, caughtBy: []string{"I6", "I7"}, within: 60,
		},
		"the budget counts what another day's payments took": {
			mutation: mutation{tune: func(c *controller.Controllers) {
				c.Payments.Budgets.Clock = clocktesting.NewFakePassiveClock(begin.Add(10 * 24 * time.Hour))
			}},
			caughtBy: []string{"I17"}, within: 60,
		},
		"R4: no quarantine": {mutation: mutation{tune: quarantineOf(0)}, caughtBy: []string{"I7"}, within: 60},
		"R5: absence counts at once": {
			mutation: mutation{policy: func(p *payment.Policy) { p.Quarantine = 0 }, tune: quarantineOf(quarantine), faults: []sandbox.Fault{
				often(sandbox.FaultDropRequest, sandbox.PayEnd),
			}}, caughtBy: []string{"R5"}, within: 60,
		},
		"R6: an answer about another payment counts": {
			mutation: mutation{answer: func(_ *sim, t *task, operation string, a *answer) {
				if strings.HasPrefix(operation, "send-request/") {
					a.body = rewrite(a.body, "id", t.object.order.key)
				}
			}, faults: []sandbox.Fault{
				{Kind: sandbox.FaultOtherObject, Operation: sandbox.SendRequest, Nth: 4, Count: 40},
				{Kind: sandbox.FaultDropRequest, Operation: sandbox.PayEnd, Nth: 2, Count: 3},
			}}, caughtBy: []string{"I2", "I3"}, within: 100,
		},
		"R7: no answer to an end is taken for a refusal": {
			mutation: mutation{answer: func(_ *sim, _ *task, operation string, a *answer) {
				if operation == "onchain-send-end" && a.lost() {
					*a = answer{status: 400, body: []byte(`{"detail":"No PSBT found. Please call /withdraw-begin first to create a PSBT."}`)}
				}
			}, faults: []sandbox.Fault{often(sandbox.FaultDropAnswer, sandbox.OnchainEnd)}}, caughtBy: []string{"I8"}, within: 20,
		},
		"R8: what cannot be known is guessed": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				if record, ok := object.(*v1alpha1.PaymentRecord); ok && record.Journal.Phase == v1alpha1.RecordUnknown {
					record.Journal.Phase = v1alpha1.RecordClaimed
				}
			}}, faults: []sandbox.Fault{often(sandbox.FaultDropAnswer, sandbox.OnchainEnd)}}, caughtBy: []string{"I8", "I1"}, within: 60,
		},
		"R9: a failed send is taken for one that was never broadcast": {
			mutation: mutation{answer: func(_ *sim, _ *task, operation string, a *answer) {
				if strings.HasPrefix(operation, "onchain-send/") {
					a.body = rewrite(a.body, "error_code", "CHANNEL_CLOSE_FAILED")
				}
			}, faults: []sandbox.Fault{often(sandbox.FaultDropAnswer, sandbox.NodeSendBtc)}}, caughtBy: []string{"I3"}, within: 60,
		},
		"R10: a request without an answer is sent again": {
			mutation: mutation{resend: true}, caughtBy: []string{"I5", "I9"}, within: 60,
		},
		"R10: a request is sent after its time": {
			mutation: mutation{late: true}, caughtBy: []string{"I5", "I7"}, within: 300,
		},
		"R11: a send begins although its time is over": {
			mutation: mutation{read: func(object client.Object) {
				if send, ok := object.(*v1alpha1.OnchainSend); ok {
					send.Spec.ValidUntil.Time = send.Spec.ValidUntil.Add(48 * time.Hour)
				}
			}}, caughtBy: []string{"R11"}, within: 300,
		},
		"I2: another amount is sent than was declared": {
			mutation: mutation{read: func(object client.Object) {
				if send, ok := object.(*v1alpha1.OnchainSend); ok {
					*send.Spec.AmountSats++
				}
			}}, caughtBy: []string{"I2"}, within: 20,
		},
		"I3 and I4: the service calls every payment failed": {
			mutation: mutation{answer: func(_ *sim, _ *task, operation string, a *answer) {
				if strings.HasPrefix(operation, "send-request/") {
					a.body = rewrite(a.body, "status", "FAILED")
				}
			}}, caughtBy: []string{"I3", "I4"}, within: 20,
		},
		"I10: an id changes": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				if pay, ok := object.(*v1alpha1.LightningPayment); ok && pay.Status.Phase == v1alpha1.PaymentSucceeded {
					pay.Status.RequestID = "another"
				}
			}}}, caughtBy: []string{"I10"}, within: 20,
		},
		"I11: an id of the service is claimed twice": {
			mutation: mutation{
				rules:  rules{overwrites: func(key objectKey) bool { return strings.HasPrefix(key.name, "sid-") }},
				faults: []sandbox.Fault{{Kind: sandbox.FaultOtherObject, Operation: sandbox.OnchainEnd, Nth: 2, Count: 4}},
			}, caughtBy: []string{"I11"}, within: 100,
		},
		"I13: a status never comes to rest": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				message(object, func(text string) string { return text + "." })
			}}}, caughtBy: []string{"I13"}, within: 5,
		},
		"I10: a LightningInvoice forgets how often it asked": {
			mutation: mutation{read: func(object client.Object) {
				if invoice, ok := object.(*v1alpha1.LightningInvoice); ok {
					invoice.Status.IssueAttempts = 0
				}
			}, faults: []sandbox.Fault{{Kind: sandbox.FaultDropAnswer, Operation: sandbox.CreateInvoice, Count: 20}}},
			caughtBy: []string{"I10"}, within: 60,
		},
		"I2: every invoice reads as settled": {
			mutation: mutation{answer: func(_ *sim, _ *task, operation string, a *answer) {
				if strings.HasPrefix(operation, "receive-request/") {
					a.body = rewrite(a.body, "status", "SETTLED")
				}
			}}, caughtBy: []string{"I2"}, within: 60,
		},
		"I4: every invoice reads as open": {
			mutation: mutation{answer: func(_ *sim, _ *task, operation string, a *answer) {
				if strings.HasPrefix(operation, "receive-request/") {
					a.body = rewrite(a.body, "status", "OPEN")
				}
			}}, caughtBy: []string{"I4"}, within: 60,
		},
		"journal: lost records are not noticed": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				if record, ok := object.(*v1alpha1.PaymentRecord); ok && record.Spec.Kind == v1alpha1.RecordWalletEpoch {
					record.Journal.Reason = ""
				}
			}}, evils: []evil{{1, (*sim).loseRecords}}}, caughtBy: []string{"journal"}, within: 60,
		},
		"I10: another invoice is pinned than was shown": {
			mutation: func() mutation {
				other := ""
				return mutation{rules: rules{rewrites: func(object client.Object) {
					record, ok := object.(*v1alpha1.PaymentRecord)
					switch {
					case ok && record.Spec.Kind == v1alpha1.RecordLightningPayment:
						other = record.Spec.PaymentRequest
					case ok && record.Spec.Kind == v1alpha1.RecordInvoicePin && other != "":
						record.Spec.PaymentRequest = other
					}
				}}}
			}(), caughtBy: []string{"I10"}, within: 60,
		},
		"consent: an approval counts beyond its end": {
			mutation: mutation{read: func(object client.Object) {
				if approval, ok := object.(*v1alpha1.PaymentApproval); ok {
					approval.Spec.ExpiresAt.Time = approval.Spec.ExpiresAt.Add(48 * time.Hour)
				}
			}}, caughtBy: []string{"consent"}, within: 100,
		},
		"consent: the author's own approval counts": {
			mutation: mutation{read: func(object client.Object) {
				if object.GetAnnotations()[v1alpha1.AuthorAnnotation] != "" {
					object.GetAnnotations()[v1alpha1.AuthorAnnotation] = "somebody else"
				}
			}}, caughtBy: []string{"consent"}, within: 100,
		},
		"permit: permission is taken from a cache": {
			mutation: mutation{tune: func(c *controller.Controllers) { c.Payments.Reader = c.Payments.Client }}, caughtBy: []string{"permit"}, within: 5,
		},
		"permit: nobody can suspend a payment": {
			mutation: mutation{read: func(object client.Object) {
				switch o := object.(type) {
				case *v1alpha1.LightningPayment:
					o.Spec.Suspend = false
				case *v1alpha1.OnchainSend:
					o.Spec.Suspend = false
				}
			}, evils: []evil{{1, (*sim).toggleSuspend}}}, caughtBy: []string{"permit"}, within: 60,
		},
		"plan: what is planned is paid": {
			mutation: mutation{read: func(object client.Object) { setMode(object, v1alpha1.ModeApply) }}, caughtBy: []string{"plan"}, within: 60,
		},
		"settle: what may have settled is asked for again": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				if record, ok := object.(*v1alpha1.PaymentRecord); ok && record.Spec.Kind == v1alpha1.RecordSettlement && record.Journal.Phase == v1alpha1.RecordUnknown {
					record.Journal.Phase = v1alpha1.RecordClaimed
				}
			}}, faults: []sandbox.Fault{often(sandbox.FaultDropAnswer, sandbox.Settle)}, extra: settlements}, caughtBy: []string{"settle"}, within: 20,
		},
		"settle: no answer is taken for success": {
			mutation: mutation{answer: func(_ *sim, _ *task, operation string, a *answer) {
				if operation == settleCall && a.lost() {
					*a = answer{status: 200, body: []byte(`{"result":"success"}`)}
				}
			}, faults: []sandbox.Fault{often(sandbox.FaultDropRequest, sandbox.Settle)}, extra: settlements}, caughtBy: []string{"settle"}, within: 20,
		},
		"permit: what may be settled is taken from a cache": {
			mutation: mutation{tune: func(c *controller.Controllers) { c.Settle.Reader = c.Settle.Client }, extra: settlements},
			caughtBy: []string{"permit"}, within: 20,
		},
		"renewal: an invoice reads as expired that can be paid": {
			mutation: mutation{answer: func(_ *sim, _ *task, operation string, a *answer) {
				if strings.HasPrefix(operation, "receive-request/") {
					a.body = bytes.Replace(a.body, []byte(`"status":"OPEN"`), []byte(`"status":"EXPIRED"`), 1)
				}
			}, extra: renewals}, caughtBy: []string{"renewal"}, within: 20,
		},
		"renewal: the history is not kept": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				if issued, ok := object.(*v1alpha1.LightningInvoice); ok {
					issued.Status.History = nil
				}
			}}, extra: renewals}, caughtBy: []string{"renewal"}, within: 20,
		},
		"renewal: every invoice that is paid settles it": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				if record, ok := object.(*v1alpha1.PaymentRecord); ok && record.Journal.Reason == v1alpha1.EventUnattributedReceipt {
					record.Journal.Reason = v1alpha1.ReasonSettled
				}
			}}, extra: renewals}, caughtBy: []string{"renewal"}, within: 60,
		},
		"journal: a status does not tell that a record was lost": {
			mutation: mutation{read: func(object client.Object) {
				if send, ok := object.(*v1alpha1.OnchainSend); ok {
					send.Status.RecordRef = ""
				}
			}, extra: halves}, caughtBy: []string{"journal"}, within: 60,
		},
		"signed: a signature counts that was deleted": {
			mutation: mutation{rules: rules{undeletes: true}, extra: signatures}, caughtBy: []string{"signed"}, within: 60,
		},
		"I14: an end is never repeated": {
			mutation: mutation{policy: func(p *payment.Policy) { p.MaxEndCalls = 1 }, faults: []sandbox.Fault{
				{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd},
			}, evils: []evil{{1, (*sim).toggleList}}}, caughtBy: []string{"I14"}, within: 60,
		},
		"I15: a status tells a secret": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				message(object, func(string) string { return "the token is " + token })
			}}}, caughtBy: []string{"I15"}, within: 5,
		},
		"status: Ready is missing": {
			mutation: mutation{rules: rules{rewrites: func(object client.Object) {
				if pay, ok := object.(*v1alpha1.LightningPayment); ok {
					pay.Status.Conditions = slices.DeleteFunc(pay.Status.Conditions, func(c metav1.Condition) bool {
						return c.Type == v1alpha1.ConditionReady
					})
				}
			}}}, caughtBy: []string{"status"}, within: 20,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			others := map[string]int{}
			for seed := uint64(1); seed <= tc.within; seed++ {
				for _, f := range runSeed(seed, tc.mutation, false).failures {
					if slices.Contains(tc.caughtBy, f.oracle) {
						t.Logf("caught by seed %d, %s: %s", seed, f.oracle, f.text)
						return
					}
					others[f.oracle]++
				}
			}
			t.Errorf("not caught by %v within %d seeds; others saw %v", tc.caughtBy, tc.within, others)
		})
	}
}
