package controller_test

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// period declares a Statement of the time from an hour before the world began until now.
func (w *world) period(name string) *v1alpha1.Statement {
	object := testkit.MakeStatement(w.namespace, name)
	now := w.clock.Now().UTC().Truncate(time.Second)
	object.Spec.Period = &v1alpha1.StatementPeriod{From: metav1.NewTime(now.Add(-48 * time.Hour)), To: metav1.NewTime(now)}
	return object
}

// entryRow is an entry of a document as a person reads it.
type entryRow map[string]string

// documents reads the documents that a Statement's status names, oldest first, each from all of its parts, and checks what the status
// says of them.
func (w *world) documents(object *v1alpha1.Statement) [][]entryRow {
	w.t.Helper()
	w.get(object)
	var whole [][]entryRow
	text := ""
	end := func() {
		if text != "" {
			whole = append(whole, w.rows(text, object.Spec.Format))
		}
		text = ""
	}
	for _, ref := range object.Status.DocumentRefs {
		if ref.Part == 1 {
			end()
		}
		held := w.document(object, ref.Name)
		part := held.Data["statement.csv"] + held.Data["statement.jsonl"]
		if sum := sha256.Sum256([]byte(part)); hex.EncodeToString(sum[:]) != ref.SHA256 {
			w.t.Errorf("ConfigMap %s has another digest than the status says", ref.Name)
		}
		entries := int64(strings.Count(part, "\n"))
		if ref.Part == 1 && object.Spec.Format == v1alpha1.FormatCSV {
			entries--
		}
		if entries != ref.Entries {
			w.t.Errorf("ConfigMap %s has %d entries, the status says %d", ref.Name, entries, ref.Entries)
		}
		text += part
	}
	end()
	return whole
}

// document is one ConfigMap of a Statement's.
func (w *world) document(object *v1alpha1.Statement, name string) *corev1.ConfigMap {
	w.t.Helper()
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: name}}
	w.get(held)
	if !metav1.IsControlledBy(held, object) || held.Immutable == nil || !*held.Immutable {
		w.t.Errorf("ConfigMap %s is not the Statement's own, or can be changed: %+v", name, held.ObjectMeta)
	}
	return held
}

func (w *world) rows(text string, format v1alpha1.StatementFormat) []entryRow {
	w.t.Helper()
	var rows []entryRow
	if format == v1alpha1.FormatJSON {
		for line := range strings.Lines(text) {
			var read map[string]any
			if err := json.Unmarshal([]byte(line), &read); err != nil {
				w.t.Fatalf("%v in %s", err, line)
			}
			found := entryRow{}
			for name, value := range read {
				found[name] = ""
				if value != nil {
					found[name] = strings.TrimSuffix(fmt.Sprintf("%.0f", value), "%!f")
				}
				if text, ok := value.(string); ok {
					found[name] = text
				}
			}
			rows = append(rows, found)
		}
		return rows
	}
	table, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range table[1:] {
		found := entryRow{}
		for i, name := range table[0] {
			found[name] = line[i]
		}
		rows = append(rows, found)
	}
	return rows
}

// configMaps are all documents of a namespace, by name.
func (w *world) configMaps() map[string]string {
	w.t.Helper()
	var list corev1.ConfigMapList
	if err := w.api.List(w.t.Context(), &list, client.InNamespace(w.namespace), client.HasLabels{"payments.utexo.com/statement"}); err != nil {
		w.t.Fatal(err)
	}
	found := map[string]string{}
	for i := range list.Items {
		found[list.Items[i].Name] = list.Items[i].ResourceVersion
	}
	return found
}

// ledgerTotals is what a statement has to say of what the sandbox's ledger holds from one instant up to another. Of the Lightning payments
// without a record nobody tells the fee.
func (w *world) ledgerTotals(from, to time.Time) []v1alpha1.StatementTotal {
	w.t.Helper()
	records := map[string]bool{}
	for _, record := range w.records(v1alpha1.RecordLightningPayment) {
		records[record.Spec.PaymentHash] = true
	}
	totals := []v1alpha1.StatementTotal{}
	add := func(entry sandbox.Entry, asset string, direction v1alpha1.Direction, amount int64, carrier bool) {
		i := slices.IndexFunc(totals, func(t v1alpha1.StatementTotal) bool { return t.Asset == asset && t.Direction == direction })
		if i < 0 {
			i = len(totals)
			totals = append(totals, v1alpha1.StatementTotal{Asset: asset, Direction: direction})
		}
		totals[i].Count++
		totals[i].Amount += amount
		switch {
		case carrier:
		case entry.Kind == sandbox.LightningOut && !records[entry.Key]:
			totals[i].FeesUnknown++
		default:
			totals[i].FeeSats += int64(entry.FeeSats)
		}
	}
	for _, entry := range w.sandbox.Ledger() {
		direction := v1alpha1.DirectionOut
		switch entry.Kind {
		case sandbox.LightningIn:
			direction = v1alpha1.DirectionIn
		case sandbox.LightningOut, sandbox.OnchainOut:
		default:
			continue
		}
		if entry.At.Before(from) || !entry.At.Before(to) {
			continue
		}
		if entry.Asset == nil {
			add(entry, v1alpha1.Bitcoin, direction, int64(entry.AmountSats), false)
			continue
		}
		add(entry, entry.Asset.ID, direction, entry.Asset.Amount, false)
		if entry.Kind != sandbox.OnchainOut {
			add(entry, v1alpha1.Bitcoin, direction, int64(entry.AmountSats), true)
		}
	}
	slices.SortFunc(totals, func(a, b v1alpha1.StatementTotal) int { // bitcoin is before rgb:…
		return strings.Compare(a.Asset+" "+string(a.Direction), b.Asset+" "+string(b.Direction))
	})
	return totals
}

// month makes what a busy month has: invoices that are paid, paid by another client's means, and not paid; payments that succeed, fail and
// hang; sends of bitcoin and of an asset.
func (w *world) month() {
	w.t.Helper()
	asset := w.sandbox.AssetIDs()[0]
	shop := made(w, testkit.MakeLightningInvoice("shop").Namespace(w.namespace).AmountSats(7000).Annotation(v1alpha1.RevisionAnnotation, "main@sha1:0a1b").Obj())
	tokens := made(w, testkit.MakeLightningInvoice("tokens").Namespace(w.namespace).Asset(asset, 25).Obj())
	unpaid := made(w, testkit.MakeLightningInvoice("unpaid").Namespace(w.namespace).AmountSats(9000).Obj())
	for _, invoice := range []*v1alpha1.LightningInvoice{shop, tokens, unpaid} {
		w.reach(invoice, v1alpha1.ReasonOpen)
		if invoice != unpaid {
			w.settle(invoice.Status.PaymentRequest, false)
			w.rest(invoice)
		}
	}
	var other struct{ Invoice string }
	w.client().MustPost("/lightning/create-invoice", `{"amount_sats":4000}`, &other)
	w.settle(other.Invoice, false)

	for name, sats := range map[string]int64{"rent": 1001, "coffee": 1002} {
		w.rest(made(w, w.payment(name, w.supplierInvoice(sats)).Annotation(v1alpha1.RevisionAnnotation, "=cmd|' /C calc'!A0").Obj()))
	}
	w.rest(made(w, w.payment("fees", w.assetInvoice(70)).Obj()))
	gone := made(w, w.payment("gone", w.supplierInvoice(1003)).Obj())
	w.rest(gone)
	if err := w.api.Delete(w.t.Context(), w.record(gone)); err != nil {
		w.t.Fatal(err)
	}
	refused, hangs := w.supplierInvoice(1004), w.supplierInvoice(1005)
	for text, mode := range map[string]sandbox.PayeeMode{refused: sandbox.PayeeFails, hangs: sandbox.PayeeHangs} {
		if err := w.sandbox.SetPayee(w.hashOf(text), mode); err != nil {
			w.t.Fatal(err)
		}
	}
	w.rest(made(w, w.payment("refused", refused).Obj()))
	w.reach(made(w, w.payment("hangs", hangs).Obj()), v1alpha1.ReasonInFlight)
	w.rest(made(w, w.send("payroll", 30_000).Obj()))
	invoice, err := w.sandbox.IssueRGBInvoice(asset, 500)
	if err != nil {
		w.t.Fatal(err)
	}
	w.rest(made(w, testkit.MakeOnchainSend("bonus").Namespace(w.namespace).RGBInvoice(invoice).Asset(asset, 500).MaxFeeSats(5000).
		ValidUntil(w.clock.Now().Add(24*time.Hour)).Obj()))
	w.clock.Step(6 * time.Hour) // unpaid expires
}

// TestStatementAgreesWithTheLedger makes a month of movements and compares its statement with what really moved, to the satoshi.
func TestStatementAgreesWithTheLedger(t *testing.T) {
	for name, tc := range map[string]struct {
		format v1alpha1.StatementFormat
		part   int
	}{
		"CSV":                     {format: v1alpha1.FormatCSV},
		"JSON":                    {format: v1alpha1.FormatJSON},
		"CSV in many ConfigMaps":  {format: v1alpha1.FormatCSV, part: 3 << 10},
		"JSON in many ConfigMaps": {format: v1alpha1.FormatJSON, part: 3 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Documented)
			w.tune = func(c *controller.Controllers) { c.Statement.MaxPart = tc.part }
			w.start()
			w.syncWallet()
			w.month()
			object := w.period("october")
			object.Spec.Format = tc.format
			w.create(object)
			w.pass(object)
			w.want(object, verdict{reason: v1alpha1.ReasonPeriodNotOver, says: []string{"not over"}})
			ends, lists := w.ends(), w.called(sandbox.ListPayments)
			w.rest(object)
			w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
			if diff := cmp.Diff(w.ledgerTotals(object.Spec.Period.From.Time, object.Spec.Period.To.Time), object.Status.Totals); diff != "" {
				t.Errorf("totals (-ledger +statement):\n%s", diff)
			}
			if w.ends() != ends || w.called(sandbox.ListPayments) != lists+1 {
				t.Errorf("the service was asked to end %d times and to list %d times", w.ends()-ends, w.called(sandbox.ListPayments)-lists)
			}
			whole := w.documents(object)
			if len(whole) != 1 || int64(len(whole[0])) != *object.Status.Entries {
				t.Fatalf("%d documents, the first of %d entries, the status says %d", len(whole), len(whole[0]), *object.Status.Entries)
			}
			var got []string
			for _, r := range whole[0] {
				got = append(got, strings.Join([]string{r["state"], r["direction"], r["method"], r["amount"], r["origin"], r["name"], r["revision"]}, " "))
			}
			slices.Sort(got)
			if diff := cmp.Diff(wantMonth, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if told := w.told(); told[v1alpha1.EventDocumentWritten] != 1 {
				t.Errorf("of the document was told %d times: %v", told[v1alpha1.EventDocumentWritten], told)
			}
			if parts := len(object.Status.DocumentRefs); (tc.part > 0) != (parts > 1) {
				t.Errorf("the document is in %d ConfigMaps", parts)
			}
			before := w.configMaps()
			w.quiet(object)
			if diff := cmp.Diff(before, w.configMaps()); diff != "" {
				t.Errorf("the documents changed (-before +after):\n%s", diff)
			}
		})
	}
}

// wantMonth are the entries of a month: state, direction, method, amount, origin, name and revision.
var wantMonth = []string{
	"Expired In Lightning 9000 Managed unpaid ",
	"Failed Out Lightning 1004 Managed refused ",
	"Pending Out Lightning 1005 Managed hangs ",
	"Succeeded In Lightning 25 Managed tokens ",
	"Succeeded In Lightning 4000 Unmanaged  ",
	"Succeeded In Lightning 7000 Managed shop main@sha1:0a1b",
	"Succeeded In LightningCarrier 3000 Managed tokens ",
	"Succeeded Out Lightning 1001 Managed rent '=cmd___/C_calc_!A0",
	"Succeeded Out Lightning 1002 Managed coffee '=cmd___/C_calc_!A0",
	"Succeeded Out Lightning 1003 Unmanaged  ",
	"Succeeded Out Lightning 70 Managed fees ",
	"Succeeded Out LightningCarrier 3000 Managed fees ",
	"Succeeded Out Onchain 30000 Recorded payroll ",
	"Succeeded Out Onchain 500 Managed bonus ",
}

// tick moves the clock to when object wants its next pass, and makes it.
func (w *world) tick(object client.Object) {
	w.t.Helper()
	after := w.pass(object)
	if after == 0 {
		w.t.Fatalf("%s wants no further pass", object.GetName())
	}
	w.clock.Step(after)
	w.pass(object)
}

// TestStatementBySchedule closes two months. What hangs over the end of the first counts in the second.
func TestStatementBySchedule(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	object := testkit.MakeStatement(w.namespace, "books")
	object.Spec.Schedule, object.Spec.HistoryLimit = "0 0 1 * *", 1
	w.create(object)
	now := w.clock.Now().UTC()
	starts := []time.Time{
		time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(now.Year(), now.Month()+2, 1, 0, 0, 0, 0, time.UTC),
	}
	if wait := w.pass(object); wait != starts[1].Add(10*time.Minute).Sub(w.clock.Now()) {
		t.Errorf("the first document is written in %v", wait)
	}
	w.want(object, verdict{reason: v1alpha1.ReasonScheduled, says: []string{"to " + starts[1].Format(time.RFC3339)}})

	w.clock.SetTime(starts[1].Add(-10 * time.Minute))
	w.rest(made(w, w.payment("rent", w.supplierInvoice(1001)).Obj()))
	hangs := w.supplierInvoice(1005)
	if err := w.sandbox.SetPayee(w.hashOf(hangs), sandbox.PayeeHangs); err != nil {
		t.Fatal(err)
	}
	late := made(w, w.payment("late", hangs).Obj())
	w.reach(late, v1alpha1.ReasonInFlight)
	w.clock.SetTime(starts[1].Add(5 * time.Minute)) // it succeeds before the document is written, and after the month
	if err := w.sandbox.Resolve(w.hashOf(hangs), true); err != nil {
		t.Fatal(err)
	}
	w.rest(late)
	w.tick(object)
	w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
	first := w.documents(object)
	if diff := cmp.Diff(w.ledgerTotals(starts[0], starts[1]), object.Status.Totals); diff != "" {
		t.Errorf("totals of the first month (-ledger +statement):\n%s", diff)
	}
	if got := states(first[0]); got != "rent Succeeded, late Pending" {
		t.Errorf("the first month shows %s", got)
	}
	written := w.configMaps()
	w.quiet(object)

	w.clock.SetTime(starts[2].Add(-time.Hour))
	w.rest(made(w, w.payment("coffee", w.supplierInvoice(1002)).Obj()))
	w.tick(object)
	w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
	second := w.documents(object)
	if diff := cmp.Diff(w.ledgerTotals(starts[1], starts[2]), object.Status.Totals); diff != "" {
		t.Errorf("totals of the second month (-ledger +statement):\n%s", diff)
	}
	if got := states(second[0]); len(second) != 1 || got != "late Succeeded, coffee Succeeded" {
		t.Errorf("the status names %d documents, and the last shows %s", len(second), got)
	}
	for name, version := range written {
		if now := w.configMaps()[name]; now != version {
			t.Errorf("ConfigMap %s changed from version %s to %q", name, version, now)
		}
	}

	// A status that is lost is made anew from the documents, without asking anybody.
	want, all, lists := object.Status, w.configMaps(), w.called(sandbox.ListPayments)
	if len(all) != 2 {
		t.Errorf("there are ConfigMaps %v", all)
	}
	w.strip(object)
	for range 3 {
		w.pass(object)
	}
	w.get(object)
	if diff := cmp.Diff(want.DocumentRefs, object.Status.DocumentRefs); diff != "" || !want.ClosedThrough.Equal(object.Status.ClosedThrough) {
		t.Errorf("the status made anew (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(all, w.configMaps()); diff != "" || w.called(sandbox.ListPayments) != lists {
		t.Errorf("the service was asked, or the documents changed (-before +after):\n%s", diff)
	}
	w.quiet(object)
}

// states are the names and states of entries.
func states(rows []entryRow) string {
	var all []string
	for _, r := range rows {
		all = append(all, r["name"]+" "+r["state"])
	}
	return strings.Join(all, ", ")
}

// TestStatementIsHeld has something in the way: it is waited for or said, and nothing is written.
func TestStatementIsHeld(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*v1alpha1.Statement)
		prepare func(w *world)
		want    verdict
		// mend lets the statement be written; nil where nobody can.
		mend func(w *world)
	}{
		"the service does not list payments": {
			prepare: func(w *world) { w.sandbox.SetListPayments(false) },
			want:    verdict{reason: v1alpha1.ReasonListNotAvailable, says: []string{"payments", "source: Records"}},
			mend:    func(w *world) { w.sandbox.SetListPayments(true) },
		},
		"the list cannot be read": {
			prepare: func(w *world) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultGarble, Operation: sandbox.ListPayments})
			},
			want: verdict{reason: v1alpha1.ReasonServiceUnavailable, says: []string{"cannot be listed"}},
			mend: func(*world) {},
		},
		"the transfers are not answered": {
			prepare: func(w *world) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.ListTransfers})
			},
			want: verdict{reason: v1alpha1.ReasonServiceUnavailable, says: []string{"transfers"}},
			mend: func(*world) {},
		},
		"there is no wallet": {
			change: func(s *v1alpha1.Statement) { s.Spec.WalletRef.Name = "nobody" },
			want:   verdict{reason: v1alpha1.ReasonWalletNotFound},
		},
		"the wallet is another namespace's": {
			change: func(s *v1alpha1.Statement) { s.Spec.WalletRef.Namespace = "elsewhere" },
			want:   verdict{reason: v1alpha1.ReasonInvalidSpec},
		},
		"a schedule never comes due": {
			change: func(s *v1alpha1.Statement) { s.Spec.Period, s.Spec.Schedule = nil, "0 0 30 2 *" },
			want:   verdict{reason: v1alpha1.ReasonInvalidSpec, says: []string{"never comes due"}},
		},
		"a schedule cannot be read": {
			change: func(s *v1alpha1.Statement) { s.Spec.Period, s.Spec.Schedule = nil, "0 0 0 0 0" },
			want:   verdict{reason: v1alpha1.ReasonInvalidSpec, says: []string{"cannot be read"}},
		},
		"the name of the document is taken": {
			prepare: func(w *world) {
				to := w.clock.Now().UTC().Add(-10 * time.Minute)
				w.create(w.configMap("october-"+to.Format("20060102t150405z"), "key", "value"))
			},
			want: verdict{reason: v1alpha1.ReasonDocumentNameTaken, says: []string{"delete it"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			object := w.period("october")
			w.clock.Step(10 * time.Minute)
			if tc.change != nil {
				tc.change(object)
			}
			if tc.prepare != nil {
				tc.prepare(w)
			}
			w.create(object)
			w.pass(object)
			w.want(object, tc.want)
			if found := w.configMaps(); len(found) > 0 {
				t.Errorf("ConfigMaps were written: %v", found)
			}
			if tc.mend == nil {
				return
			}
			tc.mend(w)
			w.rest(object)
			w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
		})
	}
}

// TestStatementWithShippedRights is declared where the operator may create no ConfigMaps, and written once the Role that is shipped is there.
func TestStatementWithShippedRights(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	operator, reads, asked := asOperator(t), 0, len(w.sandbox.Requests())
	w.kube = func(call kubeCall) error {
		if _, ok := call.object.(*v1alpha1.PaymentRecordList); ok {
			reads++
		}
		if target, ok := call.object.(*corev1.ConfigMap); ok && call.dryRun {
			return operator.Create(t.Context(), target, client.DryRunAll)
		} else if ok && call.verb == "create" {
			return operator.Create(t.Context(), target)
		}
		return call.do()
	}
	object := w.period("october")
	w.clock.Step(10 * time.Minute)
	w.create(object)
	if after := w.pass(object); after < time.Minute || after > 5*time.Minute {
		t.Errorf("it is looked at again after %v", after)
	}
	forbidden := verdict{reason: v1alpha1.ReasonTargetForbidden, says: []string{"may not create ConfigMaps", "Role and RoleBinding in namespace " + w.namespace}}
	w.want(object, forbidden)
	if told := w.told(); told[v1alpha1.ReasonTargetForbidden] != 1 {
		t.Errorf("a person was told %v", told)
	}
	w.watch(object, 10*time.Minute)
	w.want(object, forbidden)
	if told := w.told(); told[v1alpha1.ReasonTargetForbidden] != 0 {
		t.Errorf("a person was told again: %v", told)
	}
	if calls := len(w.sandbox.Requests()) - asked; calls+reads > 0 {
		t.Errorf("for what cannot be written the service is called %d times, and records are read %d times", calls, reads)
	}
	if found := w.configMaps(); len(found) > 0 {
		t.Errorf("ConfigMaps were written: %v", found)
	}

	w.grantTargets("unused")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) { // the authorizer learns of it
		after := w.pass(object)
		if w.ready(object).Reason == v1alpha1.ReasonStatementWritten {
			break
		}
		if w.want(object, forbidden); time.Now().After(deadline) {
			t.Fatal("the rights that are shipped do not let it be written")
		}
		w.clock.Step(after)
	}
	w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
	if found := w.configMaps(); len(found) != 1 {
		t.Errorf("%d ConfigMaps were written, want one: %v", len(found), found)
	}
	w.quiet(object)
}

// TestStatementOfRecords is written on the operator's word where the service does not list, and without asking it.
func TestStatementOfRecords(t *testing.T) {
	w := newWorld(t, sandbox.Reference)
	w.syncWallet()
	invoice := made(w, testkit.MakeLightningInvoice("shop").Namespace(w.namespace).AmountSats(7000).Obj())
	w.reach(invoice, v1alpha1.ReasonOpen)
	w.settle(invoice.Status.PaymentRequest, false)
	w.rest(invoice)
	w.rest(made(w, w.payment("rent", w.supplierInvoice(1001)).Obj()))
	w.rest(made(w, w.payment("tokens", w.assetInvoice(70)).Obj()))
	w.rest(made(w, w.send("payroll", 30_000).Obj()))
	w.clock.Step(time.Second)
	object := w.period("october")
	object.Spec.Source = v1alpha1.SourceRecords
	w.create(object)
	asked := len(w.sandbox.Requests())
	w.rest(object)
	w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
	want := w.ledgerTotals(object.Spec.Period.From.Time, object.Spec.Period.To.Time)
	got := slices.Clone(object.Status.Totals)
	for i := range want { // this service tells no fees of Lightning payments, and a constant one of sends
		want[i].FeeSats, want[i].FeesUnknown, got[i].FeeSats, got[i].FeesUnknown = 0, 0, 0, 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("totals (-ledger +statement):\n%s", diff)
	}
	for _, r := range w.documents(object)[0] {
		if r["origin"] != "Recorded" {
			t.Errorf("an entry is not from a record: %v", r)
		}
	}
	if calls := len(w.sandbox.Requests()) - asked; calls > 0 {
		t.Errorf("the service was asked %d times", calls)
	}
}

// TestOneFaultAtEachCallOfAStatement puts each fault at each call, one at a time: the document that is there in the end is the one that is
// there without a fault.
func TestOneFaultAtEachCallOfAStatement(t *testing.T) {
	prepare := func(t *testing.T) (*world, *v1alpha1.Statement) {
		w := newWorld(t, sandbox.Documented)
		w.tune = func(c *controller.Controllers) { c.Statement.MaxPart = 2 << 10 }
		w.start()
		w.syncWallet()
		for sats := range 20 {
			var issued struct{ Invoice string }
			w.client().MustPost("/lightning/create-invoice", fmt.Sprintf(`{"amount_sats":%d}`, 1000+sats), &issued)
			w.settle(issued.Invoice, false)
		}
		w.clock.Step(time.Second)
		object := made(w, w.period("october"))
		w.clock.Step(10 * time.Minute)
		return w, object
	}
	var path []string
	w, object := prepare(t)
	w.boundary = func(call string, after bool) error {
		if !after {
			path = append(path, call)
		}
		return nil
	}
	w.drive(object)
	w.boundary = nil
	if whole := w.documents(object); len(whole[0]) != 20 || len(object.Status.DocumentRefs) < 3 {
		t.Fatalf("the document has %d entries in %d parts", len(whole[0]), len(object.Status.DocumentRefs))
	}
	for n, call := range path {
		for _, f := range faults() {
			if !strings.Contains(f.kinds, call[:1]) {
				continue
			}
			t.Run(fmt.Sprintf("%s call %d %s", f.name, n+1, call), func(t *testing.T) {
				t.Parallel()
				w, object := prepare(t)
				w.strike(n, f, nil)
				w.drive(object)
				w.boundary = nil
				w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
				whole := w.documents(object)
				if len(whole) != 1 || len(whole[0]) != 20 || len(w.configMaps()) != len(object.Status.DocumentRefs) {
					t.Errorf("%d documents in %d ConfigMaps, of which the status names %d", len(whole), len(w.configMaps()), len(object.Status.DocumentRefs))
				}
				if diff := cmp.Diff(w.ledgerTotals(object.Spec.Period.From.Time, object.Spec.Period.To.Time), object.Status.Totals); diff != "" {
					t.Errorf("totals (-ledger +statement):\n%s", diff)
				}
				w.quiet(object)
			})
		}
	}
}

// TestStatementIsNeverMixed changes what a document is made of after half of it was written: the document is of one making, and what was
// written before belongs to none.
func TestStatementIsNeverMixed(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.tune = func(c *controller.Controllers) { c.Statement.MaxPart = 2 << 10 }
	w.start()
	w.syncWallet()
	var shops []*v1alpha1.LightningInvoice
	for i := range 8 {
		shop := made(w, testkit.MakeLightningInvoice(fmt.Sprint("shop-", i)).Namespace(w.namespace).AmountSats(7000).
			Annotation(v1alpha1.RevisionAnnotation, "one").Obj())
		w.reach(shop, v1alpha1.ReasonOpen)
		w.settle(shop.Status.PaymentRequest, false)
		w.rest(shop)
		shops = append(shops, shop)
	}
	w.clock.Step(time.Second)
	object := made(w, w.period("october"))
	w.clock.Step(10 * time.Minute)
	w.boundary = func(call string, after bool) error {
		if call == "K create ConfigMap" && after {
			panic(crashed{})
		}
		return nil
	}
	w.pass(object)
	w.boundary = nil
	half := w.configMaps()
	for _, shop := range shops {
		w.annotate(shop, v1alpha1.RevisionAnnotation, "two")
	}
	w.rest(object)
	w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
	whole := w.documents(object)
	if len(half) != 1 || len(whole) != 1 || len(whole[0]) != len(shops) {
		t.Fatalf("%d ConfigMaps were there before, and now %d documents", len(half), len(whole))
	}
	for _, r := range whole[0] {
		if r["revision"] != "two" {
			t.Errorf("an entry is of the first making: %v", r)
		}
	}
	for _, ref := range object.Status.DocumentRefs {
		if half[ref.Name] != "" {
			t.Errorf("the status names %s, which was written before", ref.Name)
		}
	}
}

// TestStatementOfASharedNode states two wallets of one node, whose service lists the payments of both to either.
func TestStatementOfASharedNode(t *testing.T) {
	w := newWorld(t, sandbox.Reference)
	w.sandbox.SetListPayments(true)
	w.makeSecret("second", map[string]string{"mnemonic": "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"})
	second := w.mainWallet(sandbox.Reference)
	second.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "second"}
	second.Spec.Keys.SecretRef.Name = "second"
	second.Spec.Signer = &v1alpha1.WalletSigner{AssetPolicy: v1alpha1.AssetPolicyWarn}
	w.create(second)
	wallet := w.wallet("main")
	w.change(wallet, func() { wallet.Spec.Signer = second.Spec.Signer })
	w.syncWallet()
	w.pass(second)
	shop := made(w, testkit.MakeLightningInvoice("shop").Namespace(w.namespace).AmountSats(7000).Obj())
	w.reach(shop, v1alpha1.ReasonOpen)
	w.settle(shop.Status.PaymentRequest, false)
	w.rest(shop)
	w.rest(made(w, w.payment("rent", w.supplierInvoice(1001)).Obj()))
	w.rest(made(w, w.payment("tokens", w.assetInvoice(70)).Obj()))
	w.rest(made(w, w.payment("coffee", w.supplierInvoice(1002)).Wallet("second").Obj()))
	asset := w.sandbox.AssetIDs()[0]
	invoice, err := w.sandbox.IssueRGBInvoice(asset, 500)
	if err != nil {
		t.Fatal(err)
	}
	w.rest(made(w, testkit.MakeOnchainSend("bonus").Namespace(w.namespace).RGBInvoice(invoice).Asset(asset, 500).MaxFeeSats(5000).
		ValidUntil(w.clock.Now().Add(24*time.Hour)).Wallet("second").Obj()))
	w.clock.Step(time.Second)
	for name, want := range map[string]string{
		"main": "shop Succeeded, rent Succeeded, tokens Succeeded, tokens Succeeded", "second": "coffee Succeeded, bonus Succeeded",
	} {
		object := w.period(name)
		object.Spec.WalletRef.Name = name
		w.create(object)
		w.rest(object)
		w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
		if got := states(w.documents(object)[0]); got != want {
			t.Errorf("the statement of %s has %s, want %s", name, got, want)
		}
		w.clock.Step(time.Second)
	}
}

// TestStatementWaitsForTheService has a service that does not answer: records, of which there may be very many, are read once it does.
func TestStatementWaitsForTheService(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	w.rest(made(w, w.payment("rent", w.supplierInvoice(1001)).Obj()))
	reads := 0
	w.kube = func(call kubeCall) error {
		if _, ok := call.object.(*v1alpha1.PaymentRecordList); ok {
			reads++
		}
		return call.do()
	}
	for _, operation := range []sandbox.Operation{sandbox.ListPayments, sandbox.Balance} {
		w.fault(sandbox.Fault{Kind: sandbox.FaultGarble, Operation: operation})
	}
	object := w.period("october")
	w.clock.Step(10 * time.Minute)
	w.create(object)
	for range 2 {
		after := w.pass(object)
		w.want(object, verdict{reason: v1alpha1.ReasonServiceUnavailable})
		if reads > 0 || after < time.Minute || after > 5*time.Minute {
			t.Errorf("it is looked at again after %v, and records were read %d times", after, reads)
		}
		w.clock.Step(after)
	}
	w.pass(object)
	w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
	if reads == 0 {
		t.Error("without a read of records this shows nothing")
	}
}

// TestStatementOfAnothersWallet declares, in another namespace, a Wallet with the public keys of one that pays, at the same service: its
// Statements tell nothing of the records of that one.
func TestStatementOfAnothersWallet(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	w.rest(made(w, w.payment("rent", w.supplierInvoice(1001)).Obj()))
	shop := made(w, testkit.MakeLightningInvoice("shop").Namespace(w.namespace).AmountSats(7000).Obj())
	w.reach(shop, v1alpha1.ReasonOpen)
	w.settle(shop.Status.PaymentRequest, false)
	w.rest(shop)
	send := made(w, w.send("payroll", 30_000).Obj())
	w.rest(send)
	w.clock.Step(time.Second)

	set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	public, tenant := set.Public(), w.makeNamespace("tenant-")
	if public.XpubVanilla != w.record(send).Spec.Wallet.XpubVanilla {
		t.Fatal("it is not the keys of who pays")
	}
	theirs := made(w, testkit.MakeWallet("main").Namespace(tenant).URL(w.url).
		WatchOnly(public.XpubVanilla, public.XpubColored, public.MasterFingerprint).Obj())
	write := func(namespace, name string, source v1alpha1.StatementSource) string {
		t.Helper()
		object := w.period(name)
		object.Namespace, object.Spec.Source = namespace, source
		w.create(object)
		w.rest(object)
		w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
		var all []string
		for _, r := range w.documents(object)[0] {
			all = append(all, strings.Join([]string{r["amount"], r["origin"], r["namespace"], r["name"], r["record"]}, " "))
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	if got := write(tenant, "not-looked-at", v1alpha1.SourceRecords); got != "" {
		t.Errorf("on record is told %s", got)
	}
	w.pass(theirs) // this service knows wallets by their keys alone
	if got := write(tenant, "records", v1alpha1.SourceRecords); got != "" {
		t.Errorf("on record is told %s", got)
	}
	if got, want := write(tenant, "service", v1alpha1.SourceService), "1001 Managed   , 7000 Managed   "; got != want {
		t.Errorf("told is %q, want what the service lists: %q", got, want)
	}

	// Its own Wallet tells of them, also once it was deleted and declared again.
	main := w.wallet("main")
	again := w.mainWallet(sandbox.Documented)
	w.delete(main)
	w.pass(main)
	w.create(again)
	w.syncWallet()
	ln, in, oc := w.names(v1alpha1.RecordLightningPayment), w.names(v1alpha1.RecordLightningInvoice), w.names(v1alpha1.RecordOnchainSend)
	want := fmt.Sprintf("1001 Recorded %[1]s rent %[2]s, 30000 Recorded %[1]s payroll %[4]s, 7000 Recorded %[1]s shop %[3]s", w.namespace, ln, in, oc)
	if got := write(w.namespace, "records", v1alpha1.SourceRecords); got != want {
		t.Errorf("on record is %s, want %s", got, want)
	}
	want = fmt.Sprintf("1001 Managed %[1]s rent %[2]s, 30000 Recorded %[1]s payroll %[4]s, 7000 Managed %[1]s shop %[3]s", w.namespace, ln, in, oc)
	if got := write(w.namespace, "service", v1alpha1.SourceService); got != want {
		t.Errorf("told is %s, want %s", got, want)
	}
}

// names are the names of the records of a kind.
func (w *world) names(kind v1alpha1.RecordKind) string {
	w.t.Helper()
	var all []string
	for _, found := range w.records(kind) {
		all = append(all, found.Name)
	}
	return strings.Join(all, " ")
}

// TestStatementOfManyRecords reads more records than the API server gives at once.
func TestStatementOfManyRecords(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	rent := made(w, w.payment("rent", w.supplierInvoice(1001)).Obj())
	w.rest(rent)
	first := w.record(rent)
	for i := range 550 {
		record := &v1alpha1.PaymentRecord{Spec: *first.Spec.DeepCopy(), Journal: *first.Journal.DeepCopy()}
		record.Namespace, record.Name, record.Labels = first.Namespace, fmt.Sprint("ln-", i), first.Labels
		record.Spec.PaymentHash = fmt.Sprintf("%064x", i)
		w.create(record)
	}
	w.clock.Step(time.Second)
	object := w.period("october")
	object.Spec.Source = v1alpha1.SourceRecords
	w.create(object)
	w.rest(object)
	w.get(object)
	want := []v1alpha1.StatementTotal{{Asset: v1alpha1.Bitcoin, Direction: v1alpha1.DirectionOut, Count: 551, Amount: 551 * 1001, FeeSats: 551 * 50}}
	if diff := cmp.Diff(want, object.Status.Totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}
