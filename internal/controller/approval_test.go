package controller_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// planOf is the plan that a payment's status shows.
func planOf(t *testing.T, object client.Object) *v1alpha1.PaymentPlan {
	t.Helper()
	plan := (*v1alpha1.PaymentPlan)(nil)
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		plan = o.Status.Plan
	case *v1alpha1.OnchainSend:
		plan = o.Status.Plan
	}
	if plan == nil {
		t.Fatalf("%T %s shows no plan: %+v", object, object.GetName(), conditionsOf(object))
	}
	return plan
}

// inMode gives object a mode.
func inMode(object client.Object, mode v1alpha1.PaymentMode) client.Object {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		o.Spec.Mode = mode
	case *v1alpha1.OnchainSend:
		o.Spec.Mode = mode
	}
	return object
}

// setMode sets the mode of what is like object at the API server.
func (w *world) setMode(object client.Object, mode v1alpha1.PaymentMode) {
	w.t.Helper()
	copied := object.DeepCopyObject().(client.Object)
	w.change(copied, func() { inMode(copied, mode) })
}

// forgetPayments takes the records of Lightning payments away, as if another cluster had made them.
func (w *world) forgetPayments() {
	w.t.Helper()
	kind := client.MatchingLabels{record.LabelKind: string(v1alpha1.RecordLightningPayment)}
	if err := w.api.DeleteAllOf(w.t.Context(), &v1alpha1.PaymentRecord{}, client.InNamespace(w.operator), kind); err != nil {
		w.t.Fatal(err)
	}
}

// approve creates an approval of what the payment's status plans.
func (w *world) approve(object client.Object, approver string, change ...func(*v1alpha1.PaymentApproval)) *v1alpha1.PaymentApproval {
	w.t.Helper()
	w.get(object)
	kind := map[bool]string{true: "LightningPayment"}[kindOf(object) == "LightningPayment"]
	if kind == "" {
		kind = "OnchainSend"
	}
	approval := testkit.MakePaymentApproval(approver, v1alpha1.PaymentReference{Kind: kind, Name: object.GetName(), UID: string(object.GetUID())},
		"main", planOf(w.t, object).Hash, w.clock.Now().Add(10*time.Minute))
	approval.Namespace = object.GetNamespace()
	for _, f := range change {
		f(approval)
	}
	w.create(approval)
	return approval
}

// TestPlan plans a payment of each kind, makes no call that leads to one, and makes it once the mode says so.
func TestPlan(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		w := limited(t, s.profile, v1alpha1.WalletLimits{DailySats: new(int64(1_000_000))})
		object := inMode(s.make(w), v1alpha1.ModePlan)
		w.create(object)
		w.pass(object)
		w.want(object, verdict{"Planned", v1alpha1.ReasonPlanned, []string{"would pay", "set spec.mode to Apply"}})
		plan := planOf(t, object)
		if plan.Verdict != v1alpha1.PlanWouldPay || len(plan.Hash) != 64 || plan.Destination == "" || plan.AmountSats == 0 ||
			plan.OutflowSats != plan.AmountSats+plan.MaxFeeSats || plan.StartBefore == nil || *plan.BudgetRemainingSats != 1_000_000 {
			t.Errorf("the plan is %+v", plan)
		}
		w.quiet(object)
		w.began(0, 0)
		if records := w.records(v1alpha1.RecordLightningPayment); len(records) > 0 {
			t.Errorf("a plan has the record %s", records[0].Name)
		}

		w.limit(v1alpha1.WalletLimits{MaxPaymentSats: new(int64(1))})
		w.pass(object)
		w.want(object, verdict{"Pending", v1alpha1.ReasonLimitExceeded, nil})
		if blocked := planOf(t, object); blocked.Verdict != v1alpha1.PlanBlocked || blocked.Hash != plan.Hash {
			t.Errorf("the plan that is blocked is %+v", blocked)
		}
		w.limit(v1alpha1.WalletLimits{})
		w.setMode(object, v1alpha1.ModeApply)
		w.rest(object)
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.setMode(object, v1alpha1.ModePlan)
		w.rest(object)
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
}

// TestPlanOfWhatIsPaid plans a payment that another resource made, and one that another client of the service made.
func TestPlanOfWhatIsPaid(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	invoice := w.supplierInvoice(5000)
	first := made(w, w.payment("rent", invoice).Obj())
	w.rest(first)
	plan := func(name string) *v1alpha1.LightningPayment {
		again := w.payment(name, invoice).Obj()
		made(w, inMode(again, v1alpha1.ModePlan))
		w.pass(again)
		return again
	}
	again := plan("rent-again")
	w.want(again, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, []string{"LightningPayment " + w.namespace + "/rent"}})
	if verdict := planOf(t, again).Verdict; verdict != v1alpha1.PlanAlreadyPaid {
		t.Errorf("the verdict is %s", verdict)
	}
	w.forgetPayments()
	lost := plan("rent-of-another-cluster")
	w.want(lost, verdict{"Planned", v1alpha1.ReasonPlanned, []string{"already has a payment"}})
	if verdict := planOf(t, lost).Verdict; verdict != v1alpha1.PlanAlreadyPaid {
		t.Errorf("the verdict is %s", verdict)
	}
	w.paid(1)
}

// TestPlannedAtTheLastMoment sets the mode to Plan between begin and end.
func TestPlannedAtTheLastMoment(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		w := newWorld(t, s.profile)
		w.syncWallet()
		object := made(w, s.make(w))
		w.atPermission(func() { w.setMode(object, v1alpha1.ModePlan) })
		w.pass(object)
		w.boundary = nil
		w.pass(object)
		w.began(1, 0)
		w.paid(0)
		w.setMode(object, v1alpha1.ModeApply)
		w.rest(object)
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
}

// TestObserve follows a payment that another client makes, and makes none.
func TestObserve(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	invoice := w.supplierInvoice(5000)
	watched := w.payment("rent", invoice).Obj()
	w.create(inMode(watched, v1alpha1.ModeObserve))
	w.pass(watched)
	w.want(watched, verdict{"Pending", v1alpha1.ReasonNotSeen, []string{"never makes one"}})
	w.quiet(watched)
	w.began(0, 0)

	elsewhere := made(w, w.payment("made-elsewhere", invoice).Obj())
	w.rest(elsewhere)
	w.forgetPayments() // as if another cluster had made it
	w.rest(watched)
	w.want(watched, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(1)
	w.began(1, 1)

	never := w.payment("never", w.supplierInvoice(1000)).Obj()
	w.create(inMode(never, v1alpha1.ModeObserve))
	w.rest(never)
	w.want(never, verdict{"Failed", v1alpha1.ReasonInvoiceExpired, nil})
	w.paid(1)
}

// TestApprovals holds a payment until enough people other than its author approved this very plan.
func TestApprovals(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		w := limited(t, s.profile, v1alpha1.WalletLimits{RequireApprovalAboveSats: new(int64(1000)), RequiredApprovals: new(int32(2))})
		object := s.make(w)
		object.SetAnnotations(map[string]string{v1alpha1.AuthorAnnotation: "author"})
		w.create(object)
		w.pass(object)
		w.want(object, verdict{"AwaitingApproval", v1alpha1.ReasonAwaitingApproval, []string{"approved by 0 of 2"}})
		w.quiet(object)
		w.began(0, 0)

		w.approve(object, "author")
		w.approve(object, "alice")
		w.pass(object)
		w.want(object, verdict{"AwaitingApproval", v1alpha1.ReasonAwaitingApproval, []string{"approved by 1 of 2", "author's own"}})
		brief := w.approve(object, "bob", func(a *v1alpha1.PaymentApproval) { a.Spec.ExpiresAt.Time = w.clock.Now() })
		w.pass(object)
		w.want(object, verdict{"AwaitingApproval", v1alpha1.ReasonAwaitingApproval, []string{"approved by 1 of 2", "has ended"}})
		w.delete(brief)
		w.approve(object, "bob")
		w.rest(object)
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		if approved := w.condition(object, v1alpha1.ConditionApproved); approved.Message != "approved by alice, bob" {
			t.Errorf("%+v", approved)
		}
		w.paid(1)
	})
}

// TestApprovalTakenBack deletes an approval between begin and end.
func TestApprovalTakenBack(t *testing.T) {
	w := limited(t, sandbox.Documented, v1alpha1.WalletLimits{RequireApprovalAboveSats: new(int64(0))})
	pay := w.payment("rent", w.supplierInvoice(5000)).Obj()
	pay.SetAnnotations(map[string]string{v1alpha1.AuthorAnnotation: "author"})
	w.create(pay)
	w.pass(pay)
	approval := w.approve(pay, "alice")
	w.atPermission(func() { w.delete(approval) })
	w.pass(pay)
	w.boundary = nil
	w.began(1, 0)
	w.want(pay, verdict{"AwaitingApproval", v1alpha1.ReasonAwaitingApproval, nil})
	w.paid(0)
	w.approve(pay, "bob")
	w.rest(pay)
	w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(1)
}

// TestApprovalOfARecreatedPayment approves a payment that is then declared again under its name: the approval was of the first.
func TestApprovalOfARecreatedPayment(t *testing.T) {
	w := limited(t, sandbox.Documented, v1alpha1.WalletLimits{RequireApprovalAboveSats: new(int64(0))})
	pay := w.payment("rent", w.supplierInvoice(5000)).Obj()
	pay.SetAnnotations(map[string]string{v1alpha1.AuthorAnnotation: "author"})
	w.create(pay)
	w.pass(pay)
	w.approve(pay, "alice")
	w.delete(pay)
	w.recreate(pay)
	w.pass(pay)
	w.want(pay, verdict{"AwaitingApproval", v1alpha1.ReasonAwaitingApproval, []string{"approved by 0 of 1"}})
	w.paid(0)
}

// TestNobodyApproves lets a payment wait for an approval, and another for a limit, until their time is over.
func TestNobodyApproves(t *testing.T) {
	for name, limits := range map[string]v1alpha1.WalletLimits{
		"an approval": {RequireApprovalAboveSats: new(int64(0))}, "a limit": {MaxPaymentSats: new(int64(1))},
	} {
		t.Run(name, func(t *testing.T) {
			w := limited(t, sandbox.Documented, limits)
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
			w.rest(pay)
			w.want(pay, verdict{"Failed", v1alpha1.ReasonInvoiceExpired, []string{"nothing was sent"}})
			w.paid(0)
		})
	}
}

// TestApprovedIsShownAsItWas shows, of a payment that was submitted or is over, how far it was approved then, and nothing where no approval is
// needed any more.
func TestApprovedIsShownAsItWas(t *testing.T) {
	awaiting := func(t *testing.T, maxFeeSats int64) (*world, *v1alpha1.LightningPayment) {
		w := limited(t, sandbox.Documented, v1alpha1.WalletLimits{RequireApprovalAboveSats: new(int64(0))})
		pay := w.payment("rent", w.supplierInvoice(5000)).MaxFeeSats(maxFeeSats).Obj()
		pay.SetAnnotations(map[string]string{v1alpha1.AuthorAnnotation: "author"})
		w.create(pay)
		w.pass(pay)
		return w, pay
	}
	t.Run("submitted, and edited since", func(t *testing.T) {
		w, pay := awaiting(t, 1000)
		w.approve(pay, "alice")
		w.rest(pay)
		w.setMode(pay, v1alpha1.ModePlan)
		w.pass(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil}) // for the generation that there is now
		if approved := w.condition(pay, v1alpha1.ConditionApproved); approved.Message != "approved by alice" {
			t.Errorf("%+v", approved)
		}
	})
	t.Run("no approval is needed any more", func(t *testing.T) {
		w, pay := awaiting(t, 1000)
		w.limit(v1alpha1.WalletLimits{})
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		if approved := meta.FindStatusCondition(pay.Status.Conditions, v1alpha1.ConditionApproved); approved != nil {
			t.Errorf("a payment that needed no approval says %+v", approved)
		}
	})
	t.Run("failed, and approved since", func(t *testing.T) {
		w, pay := awaiting(t, 1)
		w.want(pay, verdict{"Failed", v1alpha1.ReasonFeeTooHigh, nil})
		w.approve(pay, "alice")
		w.quiet(pay)
		w.want(pay, verdict{"Failed", v1alpha1.ReasonFeeTooHigh, nil})
	})
}

// TestPermissionGrowsOld pauses the process between its last look at an approval, which is taken back meanwhile, and the call that moves money.
func TestPermissionGrowsOld(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		w := limited(t, s.profile, v1alpha1.WalletLimits{RequireApprovalAboveSats: new(int64(0))})
		object := s.make(w)
		object.SetAnnotations(map[string]string{v1alpha1.AuthorAnnotation: "author"})
		w.create(object)
		w.pass(object)
		approval := w.approve(object, "alice")
		begun, paused := false, false
		w.boundary = func(call string, after bool) error {
			begun = begun || (after && strings.HasSuffix(call, "-begin"))
			if begun && !paused && after && strings.HasPrefix(call, "K list PaymentApproval") {
				paused = true
				w.delete(approval)
				w.clock.Step(30 * time.Second)
			}
			return nil
		}
		w.pass(object)
		w.boundary = nil
		if !paused {
			t.Fatal("permission was not asked for")
		}
		w.began(1, 0)
		w.reach(object, v1alpha1.ReasonAwaitingApproval)
		w.paid(0)
		w.approve(object, "bob")
		w.rest(object)
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
}
