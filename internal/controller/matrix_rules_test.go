package controller_test

import (
	"encoding/json"
	"io"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// removal takes a rule of docs/protocol.md away from outside of the operator: in what the API server stores and shows, in what the service
// answers, or in the operator's numbers.
type removal struct {
	// kube makes a call of the API server, answer one of the service; made is that call where it begins or ends a payment.
	kube   func(r *trial, call kubeCall) error
	answer func(request *http.Request, send func() (*http.Response, error), made *moneyCall) (*http.Response, error)
	policy func(*payment.Policy)
	tune   func(*controller.Controllers)
}

func (m removal) kubeOf(r *trial, call kubeCall) func() error {
	if m.kube == nil {
		return call.do
	}
	return func() error { return m.kube(r, call) }
}

func (m removal) answerOf(request *http.Request, send func() (*http.Response, error), made *moneyCall) (*http.Response, error) {
	if m.answer == nil {
		return send()
	}
	return m.answer(request, send, made)
}

// blind writes a patch whatever was written since the object was read.
func (r *trial) blind(call kubeCall) error {
	data, err := call.patch.Data(call.object.(client.Object))
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	if metadata, ok := fields["metadata"].(map[string]any); ok {
		delete(metadata, "resourceVersion")
	}
	return r.api.Patch(r.t.Context(), call.object.(client.Object), client.RawPatch(types.MergePatchType, []byte(asJSON(fields))))
}

// another is a second process of the operator, at the same records and under the same eyes.
func (r *trial) another() *world {
	other := *r.world
	other.starts += 100
	other.boundary, other.kube, other.wire = nil, r.callKube, r.callService
	other.start()
	return &other
}

// atCall is a fault that does something before a call of the API server, the nth of that name, and then makes it.
func atCall(steps []step, name string, nth int, do func(r *trial)) (*singleFault, int) {
	for at := range steps {
		if steps[at].call != name {
			continue
		}
		if nth--; nth == 0 {
			return &singleFault{kube: func(r *trial, call kubeCall) error { do(r); return call.do() }}, at
		}
	}
	return nil, -1
}

func atService(f sandbox.Fault) func([]step) (*singleFault, int) {
	return func([]step) (*singleFault, int) { return &singleFault{service: &f}, -1 }
}

// TestEachRuleIsCaught removes the rules R1 to R8 of docs/protocol.md one at a time, under a fault or a pause in which each is needed. The
// oracle that is there for it must see it, and must see nothing while the rule is in force.
func TestEachRuleIsCaught(t *testing.T) {
	lost := sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd}
	cases := map[string]struct {
		kind    string
		removed removal
		// fault is put there with the rule and without it; before is what was there already.
		fault    func(steps []step) (*singleFault, int)
		before   func(r *trial)
		caughtBy string
	}{
		"R1: a record is written whatever was written to it since": {
			kind: "OnchainSend",
			removed: removal{kube: func(r *trial, call kubeCall) error {
				if _, ok := call.object.(*v1alpha1.PaymentRecord); ok && call.verb == "patch" {
					return r.blind(call)
				}
				return call.do()
			}},
			// A process is paused before it writes that it begins; another takes over and sends.
			fault: func(steps []step) (*singleFault, int) {
				return atCall(steps, "K patch PaymentRecord", 1, func(r *trial) {
					other := r.another()
					r.clock.Step(10 * time.Minute)
					other.pass(r.object)
				})
			},
			caughtBy: "I1",
		},
		"R2: the end is not written ahead": {
			kind: "LightningPayment",
			removed: removal{kube: func(_ *trial, call kubeCall) error {
				if record, ok := call.object.(*v1alpha1.PaymentRecord); ok && call.verb == "patch" && record.Journal.Phase == v1alpha1.RecordSubmitting {
					return nil // and nothing is stored
				}
				return call.do()
			}},
			caughtBy: "I5",
		},
		"R3: the Lease keeps nobody out": {
			kind: "LightningPayment",
			removed: removal{kube: func(r *trial, call kubeCall) error {
				lease, ok := call.object.(*coordinationv1.Lease)
				if ok && call.verb == "patch" {
					return r.blind(call)
				}
				err := call.do()
				if ok && call.verb == "get" {
					lease.Spec.HolderIdentity = nil
					delete(lease.Annotations, walletlock.InflightAnnotation)
				}
				return err
			}},
			// A process is paused between begin and end; another makes another payment from the wallet.
			fault: func(steps []step) (*singleFault, int) {
				return atCall(steps, "K get LightningPayment", 3, func(r *trial) {
					other := r.another()
					pay := r.payment("other", r.supplierInvoice(6000)).Obj()
					r.create(pay)
					other.pass(pay)
				})
			},
			caughtBy: "I6",
		},
		"R4: no quarantine of the wallet": {
			kind:    "LightningPayment",
			removed: removal{tune: func(c *controller.Controllers) { c.Spender.Locks.Quarantine = 0 }},
			fault: atService(sandbox.Fault{
				Kind: sandbox.FaultLandLate, Operation: sandbox.PayBegin, Delay: sandbox.Duration(late),
			}),
			caughtBy: "I7",
		},
		"R5: absence counts at once": {
			kind: "LightningPayment",
			removed: removal{
				policy: func(p *payment.Policy) { p.Quarantine = 0 },
				tune:   func(c *controller.Controllers) { c.Spender.Locks.Quarantine = quarantine },
			},
			fault:    atService(sandbox.Fault{Kind: sandbox.FaultDropRequest, Operation: sandbox.PayEnd}),
			caughtBy: "R5",
		},
		"R6: an answer about another payment counts": {
			kind: "LightningPayment",
			removed: removal{answer: func(request *http.Request, send func() (*http.Response, error), _ *moneyCall) (*http.Response, error) {
				response, err := send()
				if err != nil || !strings.Contains(request.URL.Path, "/send-request/") {
					return response, err
				}
				return rewritten(response, "id", path.Base(request.URL.Path))
			}},
			before: func(r *trial) {
				earlier := made(r.world, r.payment("earlier", r.supplierInvoice(7000)).Obj())
				r.rest(earlier)
				if _, err := r.sandbox.AddFault(sandbox.Fault{
					Kind: sandbox.FaultOtherObject, Operation: sandbox.SendRequest, Nth: 2, Count: 6,
				}); err != nil {
					r.t.Fatal(err)
				}
			},
			fault:    atService(sandbox.Fault{Kind: sandbox.FaultDropRequest, Operation: sandbox.PayEnd}),
			caughtBy: "I2",
		},
		"R7: no answer is taken for a refusal": {
			kind: "OnchainSend",
			removed: removal{answer: func(request *http.Request, send func() (*http.Response, error), made *moneyCall) (*http.Response, error) {
				response, err := send()
				if err == nil || made == nil || !made.end {
					return response, err
				}
				made.answer = &callAnswer{}
				return named{status: 400, text: "No PSBT found. Please call /withdraw-begin first to create a PSBT."}.answer(request)
			}},
			fault: atService(lost), caughtBy: "I8",
		},
		"R8: what cannot be known is guessed": {
			kind: "OnchainSend",
			removed: removal{kube: func(_ *trial, call kubeCall) error {
				if record, ok := call.object.(*v1alpha1.PaymentRecord); ok && call.verb == "patch" && record.Journal.Phase == v1alpha1.RecordUnknown {
					record.Journal.Phase = v1alpha1.RecordClaimed
				}
				return call.do()
			}},
			fault: atService(lost), caughtBy: "I1",
		},
	}
	for name, tc := range cases {
		o := documented(tc.kind)
		judge := func(t *testing.T, m removal) []string {
			var fault *singleFault
			at := -1
			if tc.fault != nil {
				fault, at = tc.fault(stepsOf(t, o))
			}
			r := newTrial(t, o, fault, at, func(r *trial) {
				r.rules, r.policy, r.tune, r.earlier = m, m.policy, m.tune, tc.before
			})
			r.run()
			if found := r.struck || fault == nil || r.sandbox.Faults()[len(r.sandbox.Faults())-1].Hit > 0; !found {
				t.Fatal("the fault did not strike")
			}
			var oracles []string
			for _, v := range r.outcome().violations() {
				t.Logf("%s: %s", v.oracle, v.text)
				oracles = append(oracles, v.oracle)
			}
			return oracles
		}
		t.Run(name, func(t *testing.T) {
			if seen := judge(t, tc.removed); !slices.Contains(seen, tc.caughtBy) {
				t.Errorf("not caught by %s; others saw %v", tc.caughtBy, seen)
			}
		})
		t.Run(name[:2]+" in force", func(t *testing.T) {
			if seen := judge(t, removal{}); slices.Contains(seen, tc.caughtBy) {
				t.Errorf("%s sees a rule broken that is in force", tc.caughtBy)
			}
		})
	}
}

// documented is the operation of a kind at the documented service.
func documented(kind string) operation {
	all := operations()
	return all[slices.IndexFunc(all, func(o operation) bool { return o.kind == kind && o.profile == sandbox.Documented })]
}

// rewritten replaces the value of a string member of a JSON answer.
func rewritten(response *http.Response, member, value string) (*http.Response, error) {
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	text := regexp.MustCompile(`"`+member+`":"[^"]*"`).ReplaceAllString(string(body), `"`+member+`":"`+value+`"`)
	response.Body, response.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	response.Header.Del("Content-Length")
	return response, nil
}
