package v1alpha1_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// apiServer is a real one, with the CRDs that make manifests writes. Cases leave no mark on it but the objects that they change.
var apiServer client.Client

func TestMain(m *testing.M) { os.Exit(runOnAPIServer(m)) }

func runOnAPIServer(m *testing.M) (code int) {
	log.SetLogger(logr.Discard())
	_, c, stop, err := testkit.StartControlPlane()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	apiServer = c
	return m.Run()
}

const (
	bolt11  = "lnbcrt10u1pjexampleexampleexample"
	address = "bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0"
	rgb     = "rgb:~/~/~/bcrt:utxob:example"
	assetID = "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
)

var (
	xpub      = "tpub" + strings.Repeat("D", 107)
	otherXpub = "tpub" + strings.Repeat("E", 107)
	someDay   = time.Date(2030, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// Starting points, valid but for what a case is about.

// node is the public key of a Lightning node.
var node = "02" + strings.Repeat("ab", 32)

func wallet() *testkit.WalletBuilder            { return testkit.MakeWallet("main") }
func invoice() *testkit.LightningInvoiceBuilder { return testkit.MakeLightningInvoice("shop") }
func payment() *testkit.LightningPaymentBuilder {
	return testkit.MakeLightningPayment("rent").Invoice(bolt11)
}
func send() *testkit.OnchainSendBuilder      { return testkit.MakeOnchainSend("payroll") }
func sendSats() *testkit.OnchainSendBuilder  { return send().Address(address).AmountSats(1000) }
func sendAsset() *testkit.OnchainSendBuilder { return send().RGBInvoice(rgb).Asset(assetID, 1) }
func record() *testkit.PaymentRecordBuilder  { return testkit.MakePaymentRecord("ln-1") }
func submitted(r *v1alpha1.PaymentRecord)    { r.Journal.SubmittedAt = &metav1.MicroTime{Time: someDay} }
func edit[T any](obj T, change func(T)) T    { change(obj); return obj }
func insecurely(w *v1alpha1.Wallet)          { w.Spec.Endpoint.Insecure = true }
func watched() *testkit.WalletBuilder        { return wallet().WatchOnly(xpub, xpub, "0badcafe") }
func remoteSigner() *v1alpha1.WalletSigner {
	return &v1alpha1.WalletSigner{Type: v1alpha1.SignerRemote, Remote: &v1alpha1.RemoteSigner{
		URL: "https://signer.test", ClientCertSecretRef: v1alpha1.LocalReference{Name: "signer-client"},
	}}
}

func people(window time.Duration) *v1alpha1.WalletSigner {
	return &v1alpha1.WalletSigner{Type: v1alpha1.SignerManual, Manual: &v1alpha1.ManualSigner{Window: &metav1.Duration{Duration: window}}}
}

func signedBy(signer *v1alpha1.WalletSigner) func(*v1alpha1.Wallet) {
	return func(w *v1alpha1.Wallet) { w.Spec.Signer = signer }
}

func both() *v1alpha1.WalletSigner {
	signer := remoteSigner()
	signer.Manual = people(time.Hour).Manual
	return signer
}

func patience(timeout time.Duration) *v1alpha1.WalletSigner {
	signer := remoteSigner()
	signer.Remote.Timeout = &metav1.Duration{Duration: timeout}
	return signer
}

func stated(change func(*v1alpha1.StatementSpec)) *v1alpha1.Statement {
	return edit(statement("main"), func(s *v1alpha1.Statement) { change(&s.Spec) })
}

func claimOf(name string) func(r *v1alpha1.PaymentRecord) {
	return func(r *v1alpha1.PaymentRecord) { r.Spec.RecordRef = name }
}

// ruleCase asks the API server to create an object or, where from is set, to change from into to.
type ruleCase struct {
	// rule that the case is about, as the API server reports it: "<field>: <message>".
	rule     string
	from, to client.Object
	// want is everything that the API server objects to; nil where it accepts.
	want []string
}

// Rules of a PaymentRecord are those of the whole object, for which the API server reports no field.
const (
	recordSpec    = "<nil>: spec is immutable"
	recordSuccess = "<nil>: a payment that succeeded stays so"
	recordAttempt = "<nil>: attempts are never taken back"
	recordID      = "<nil>: the service's id of a payment never changes"
	recordHolder  = "<nil>: a record changes hands only where nothing was submitted"
)

var recordPhases = []v1alpha1.RecordPhase{
	v1alpha1.RecordClaimed, v1alpha1.RecordBegan, v1alpha1.RecordAwaitingSignature, v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted,
	v1alpha1.RecordSucceeded,
	v1alpha1.RecordFailed, v1alpha1.RecordCancelled, v1alpha1.RecordUnknown, v1alpha1.RecordHeld,
}

// ruleCases returns the cases of every rule, by a sentence.
func ruleCases() map[string]ruleCase {
	cases := map[string]ruleCase{}
	add := func(name string, c ruleCase) {
		if _, found := cases[name]; found {
			panic("two cases are named " + name)
		}
		cases[name] = c
	}
	for name, c := range creations() {
		add(name, c)
	}
	for name, c := range recordChanges() {
		add(name, c)
	}
	for _, field := range immutableFields() {
		for fromName, from := range field.variants {
			for toName, to := range field.variants {
				c := ruleCase{rule: field.rule, from: from, to: to}
				if fromName != toName {
					c.want = []string{field.rule}
				} else {
					// An update that changes nothing at all would not reach the rules.
					c.to = edit(to.DeepCopyObject().(client.Object), func(obj client.Object) { obj.SetLabels(map[string]string{"a": "b"}) })
				}
				add(fmt.Sprintf("%s %s, from %s to %s", kindOf(from), field.rule, fromName, toName), c)
			}
		}
	}
	for name, c := range swaps() {
		add(name, c)
	}
	return cases
}

// creations are the cases of rules about an object as it is.
func creations() map[string]ruleCase {
	const (
		plainHTTP     = "spec.endpoint: url must start with https://, or set insecure: true to talk plain HTTP (a test service on your own machine)"
		timeout       = "spec.endpoint.timeout: timeout must be a duration between 1s and 10m, for example 35s"
		oneKeySource  = "spec.keys: set exactly one of secretRef and watchOnly"
		oneAmount     = "spec: set exactly one of amountSats and asset"
		oneInvoice    = "spec: set exactly one of invoice and invoiceFrom"
		oneSource     = "spec.invoiceFrom: set exactly one of lightningInvoiceRef, secretKeyRef and configMapKeyRef"
		oneGuard      = "spec: set at most one of the guards amountSats and asset"
		followed      = "spec: mode Observe needs the sendID of the send that is followed, and no other mode has one"
		named         = "spec: sendID is immutable: declare a new OnchainSend"
		oneTarget     = "spec.to: set exactly one of address and rgbInvoice"
		amountForKind = "spec: an address is sent amountSats, an rgbInvoice is sent asset"
		remoteKeys    = "spec: a Remote signer has the private keys: set keys.watchOnly, not keys.secretRef"
		remoteSet     = "spec.signer: set remote exactly where type is Remote"
		peopleKeys    = "spec: people who sign have the private keys: set keys.watchOnly, not keys.secretRef"
		manualSet     = "spec.signer: set manual only where type is Manual"
		window        = "spec.signer.manual.window: window must be a duration between 1m and 12h, for example 15m"
		signerTimeout = "spec.signer.remote.timeout: timeout must be a duration between 1s and 30s, for example 10s"
		onePeriod     = "spec: set exactly one of period and schedule"
		inOrder       = "spec.period: from must be before to"
		longEnough    = "spec: an invoice that is renewed must be payable for 10 minutes at least: set expirySeconds to 600 or more, or renewal to Never"
		oneProjection = "spec.publishTo: set exactly one of secretRef and configMapRef"
		ownKey        = "spec.publishTo.configMapRef.key: key must be another than paymentHash, expiresAt and amountSats, which are written beside it"
		ownSecretKey  = "spec.publishTo.secretRef.key: key must be another than paymentHash, expiresAt and amountSats, which are written beside it"
	)
	const (
		approvals   = "spec.limits: requiredApprovals needs requireApprovalAboveSats"
		destination = "spec.limits.allowedDestinations[0]: set nodePublicKey, address or assetID"
		alone       = "spec.limits.allowedDestinations[0]: an address stands alone: it is sent bitcoin, on-chain"
		ofAsset     = "spec.limits.allowedDestinations[0]: maxAssetAmount needs assetID"
		interval    = "spec.settlement.interval: interval must be a duration between 5m and 168h, for example 1h"
		selector    = "spec.allowedNamespaces: from: Selector needs a selector"
	)
	settling := func(interval time.Duration) client.Object {
		return edit(wallet().Obj(), func(w *v1alpha1.Wallet) {
			w.Spec.Settlement = &v1alpha1.WalletSettlement{Mode: v1alpha1.SettleAutomatic, Interval: &metav1.Duration{Duration: interval}}
		})
	}
	limited := func(limits v1alpha1.WalletLimits) client.Object {
		return edit(wallet().Obj(), func(w *v1alpha1.Wallet) { w.Spec.Limits = &limits })
	}
	allowing := func(entry v1alpha1.AllowedDestination) client.Object {
		return limited(v1alpha1.WalletLimits{AllowedDestinations: []v1alpha1.AllowedDestination{entry}})
	}
	from := func(from v1alpha1.NamespacesFrom, selector *metav1.LabelSelector) client.Object {
		return edit(wallet().Obj(), func(w *v1alpha1.Wallet) {
			w.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: from, Selector: selector}
		})
	}
	unresolved := func() *testkit.LightningPaymentBuilder { return testkit.MakeLightningPayment("rent") }
	published := func(key string) client.Object {
		return edit(invoice().AmountSats(1000).PublishToConfigMap("pay").Obj(), func(i *v1alpha1.LightningInvoice) { i.Spec.PublishTo.ConfigMapRef.Key = key })
	}
	inSecret := func(key string) client.Object {
		return edit(invoice().AmountSats(1000).PublishToSecret("pay").Obj(), func(i *v1alpha1.LightningInvoice) { i.Spec.PublishTo.SecretRef.Key = key })
	}
	return map[string]ruleCase{
		"two approvals above a sum":   {rule: approvals, to: limited(v1alpha1.WalletLimits{RequireApprovalAboveSats: new(int64(0)), RequiredApprovals: new(int32(2))})},
		"one approval above a sum":    {rule: approvals, to: limited(v1alpha1.WalletLimits{RequireApprovalAboveSats: new(int64(0))})},
		"two approvals above nothing": {rule: approvals, to: limited(v1alpha1.WalletLimits{RequiredApprovals: new(int32(2))}), want: []string{approvals}},

		"a node may be paid":               {rule: destination, to: allowing(v1alpha1.AllowedDestination{NodePublicKey: node})},
		"an address may be sent to":        {rule: alone, to: allowing(v1alpha1.AllowedDestination{Address: address})},
		"an asset may be paid with":        {rule: ofAsset, to: allowing(v1alpha1.AllowedDestination{AssetID: assetID, MaxAssetAmount: new(int64(1))})},
		"a node may be paid an asset":      {rule: ofAsset, to: allowing(v1alpha1.AllowedDestination{NodePublicKey: node, AssetID: assetID})},
		"nobody in particular may be paid": {rule: destination, to: allowing(v1alpha1.AllowedDestination{}), want: []string{destination}},
		"an address and a node":            {rule: alone, to: allowing(v1alpha1.AllowedDestination{Address: address, NodePublicKey: node}), want: []string{alone}},
		"an address and an asset":          {rule: alone, to: allowing(v1alpha1.AllowedDestination{Address: address, AssetID: assetID}), want: []string{alone}},
		"a bound of no asset":              {rule: ofAsset, to: allowing(v1alpha1.AllowedDestination{NodePublicKey: node, MaxAssetAmount: new(int64(1))}), want: []string{ofAsset}},

		"a settlement every 5 minutes":        {rule: interval, to: settling(5 * time.Minute)},
		"a settlement every week":             {rule: interval, to: settling(168 * time.Hour)},
		"a settlement more often than that":   {rule: interval, to: settling(5*time.Minute - time.Second), want: []string{interval}},
		"a settlement less often than a week": {rule: interval, to: settling(168*time.Hour + time.Second), want: []string{interval}},

		"no other namespaces":    {rule: selector, to: from(v1alpha1.NamespacesSame, nil)},
		"all namespaces":         {rule: selector, to: from(v1alpha1.NamespacesAll, nil)},
		"namespaces by label":    {rule: selector, to: from(v1alpha1.NamespacesSelector, &metav1.LabelSelector{})},
		"namespaces by no label": {rule: selector, to: from(v1alpha1.NamespacesSelector, nil), want: []string{selector}},

		"an invoice in a Secret under a key of its own":    {rule: ownSecretKey, to: inSecret("BOLT11")},
		"an invoice in a Secret under the key of its hash": {rule: ownSecretKey, to: inSecret("paymentHash"), want: []string{ownSecretKey}},
		"an invoice that is renewed every 10 minutes":      {rule: longEnough, to: invoice().AmountSats(1000).Expiry(10 * time.Minute).Renews().Obj()},
		"an invoice that is renewed every 599 s":           {rule: longEnough, to: invoice().AmountSats(1000).Expiry(599 * time.Second).Renews().Obj(), want: []string{longEnough}},
		"an invoice of a minute that is not renewed":       {rule: longEnough, to: invoice().AmountSats(1000).Expiry(time.Minute).Obj()},
		"an invoice of the default that is renewed":        {rule: longEnough, to: invoice().AmountSats(1000).Renews().Obj()},
		"a short invoice comes to be renewed": {
			rule: longEnough, from: invoice().AmountSats(1000).Expiry(time.Minute).Obj(), to: invoice().AmountSats(1000).Expiry(time.Minute).Renews().Obj(),
			want: []string{longEnough},
		},
		"an invoice comes to be renewed":            {rule: longEnough, from: invoice().AmountSats(1000).Obj(), to: invoice().AmountSats(1000).Renews().Obj()},
		"an invoice comes to be renewed no more":    {rule: longEnough, from: invoice().AmountSats(1000).Renews().Obj(), to: invoice().AmountSats(1000).Obj()},
		"an invoice that is written to a ConfigMap": {rule: oneProjection, to: invoice().AmountSats(1000).PublishToConfigMap("pay").Obj()},
		"an invoice that is written to a Secret":    {rule: oneProjection, to: invoice().AmountSats(1000).PublishToSecret("pay").Obj()},
		"an invoice that is written to nothing":     {rule: oneProjection, to: edit(invoice().AmountSats(1000).Obj(), func(i *v1alpha1.LightningInvoice) { i.Spec.PublishTo = &v1alpha1.InvoiceTarget{} }), want: []string{oneProjection}},
		"an invoice that is written to two objects": {rule: oneProjection, to: edit(invoice().AmountSats(1000).PublishToConfigMap("pay").Obj(), func(i *v1alpha1.LightningInvoice) {
			i.Spec.PublishTo.SecretRef = &v1alpha1.TargetReference{Name: "pay"}
		}), want: []string{oneProjection}},
		"an invoice under a key of its own":          {rule: ownKey, to: published("BOLT11")},
		"an invoice under the key of its hash":       {rule: ownKey, to: published("paymentHash"), want: []string{ownKey}},
		"an invoice under the key of its expiry":     {rule: ownKey, to: published("expiresAt"), want: []string{ownKey}},
		"an invoice under the key of its amount":     {rule: ownKey, to: published("amountSats"), want: []string{ownKey}},
		"an invoice under a key that names a folder": {rule: ownKey, to: published(".."), want: []string{ownKey}},

		"an https service":             {rule: plainHTTP, to: wallet().URL("https://utexo.test").Obj()},
		"a plain http service":         {rule: plainHTTP, to: edit(wallet().URL("http://utexo.test").Obj(), func(w *v1alpha1.Wallet) { w.Spec.Endpoint.Insecure = false }), want: []string{plainHTTP}},
		"an insecure http service":     {rule: plainHTTP, to: wallet().URL("http://127.0.0.1:8085").Obj()},
		"insecure does no harm to TLS": {rule: plainHTTP, to: edit(wallet().Obj(), insecurely)},

		"the shortest timeout": {rule: timeout, to: wallet().Timeout(time.Second).Obj()},
		"the longest timeout":  {rule: timeout, to: wallet().Timeout(10 * time.Minute).Obj()},
		"no timeout at all":    {rule: timeout, to: wallet().Timeout(0).Obj(), want: []string{timeout}},
		"a timeout below 1 s":  {rule: timeout, to: wallet().Timeout(time.Second - time.Nanosecond).Obj(), want: []string{timeout}},
		"a timeout over 10 m":  {rule: timeout, to: wallet().Timeout(10*time.Minute + time.Nanosecond).Obj(), want: []string{timeout}},
		"a negative timeout":   {rule: timeout, to: wallet().Timeout(-time.Minute).Obj(), want: []string{timeout}},

		"keys from a Secret":     {rule: oneKeySource, to: wallet().KeysFrom("seed").Obj()},
		"public keys only":       {rule: oneKeySource, to: wallet().WatchOnly(xpub, xpub, "0badcafe").Obj()},
		"a wallet without keys":  {rule: oneKeySource, to: edit(wallet().Obj(), func(w *v1alpha1.Wallet) { w.Spec.Keys = v1alpha1.WalletKeys{} }), want: []string{oneKeySource}},
		"keys of both kinds":     {rule: oneKeySource, to: edit(wallet().WatchOnly(xpub, xpub, "0badcafe").Obj(), func(w *v1alpha1.Wallet) { w.Spec.Keys.SecretRef = &v1alpha1.LocalReference{Name: "seed"} }), want: []string{oneKeySource}},
		"an invoice for bitcoin": {rule: oneAmount, to: invoice().AmountSats(1000).Obj()},

		"a remote signer of public keys":      {rule: remoteKeys, to: edit(watched().Obj(), signedBy(remoteSigner()))},
		"a remote signer beside private keys": {rule: remoteKeys, to: edit(wallet().Obj(), signedBy(remoteSigner())), want: []string{remoteKeys}},
		"a local signer of private keys":      {rule: remoteKeys, to: edit(wallet().Obj(), signedBy(&v1alpha1.WalletSigner{Type: v1alpha1.SignerLocal}))},
		"a local signer of public keys":       {rule: remoteKeys, to: edit(watched().Obj(), signedBy(&v1alpha1.WalletSigner{}))},
		"a remote signer nowhere":             {rule: remoteSet, to: edit(watched().Obj(), signedBy(&v1alpha1.WalletSigner{Type: v1alpha1.SignerRemote})), want: []string{remoteSet}},
		"a local signer somewhere": {
			rule: remoteSet, to: edit(watched().Obj(), signedBy(&v1alpha1.WalletSigner{Remote: remoteSigner().Remote})), want: []string{remoteSet},
		},
		"a named signer that is remote":               {rule: remoteSet, to: edit(watched().Obj(), signedBy(remoteSigner()))},
		"the most impatient signer's caller":          {rule: signerTimeout, to: edit(watched().Obj(), signedBy(patience(time.Second)))},
		"the most patient signer's caller":            {rule: signerTimeout, to: edit(watched().Obj(), signedBy(patience(30*time.Second)))},
		"a signer without time":                       {rule: signerTimeout, to: edit(watched().Obj(), signedBy(patience(0))), want: []string{signerTimeout}},
		"a signer with too much time":                 {rule: signerTimeout, to: edit(watched().Obj(), signedBy(patience(31*time.Second))), want: []string{signerTimeout}},
		"people who sign with keys of their own":      {rule: peopleKeys, to: edit(watched().Obj(), signedBy(people(time.Hour)))},
		"people who sign without a window":            {rule: peopleKeys, to: edit(watched().Obj(), signedBy(&v1alpha1.WalletSigner{Type: v1alpha1.SignerManual}))},
		"people who sign beside private keys":         {rule: peopleKeys, to: edit(wallet().Obj(), signedBy(people(time.Hour))), want: []string{peopleKeys}},
		"people beside a remote signer":               {rule: manualSet, to: edit(watched().Obj(), signedBy(both())), want: []string{manualSet}},
		"a window for people who sign":                {rule: manualSet, to: edit(watched().Obj(), signedBy(people(time.Minute)))},
		"the longest window":                          {rule: window, to: edit(watched().Obj(), signedBy(people(12*time.Hour)))},
		"the shortest window":                         {rule: window, to: edit(watched().Obj(), signedBy(people(time.Minute)))},
		"a window that is too short":                  {rule: window, to: edit(watched().Obj(), signedBy(people(59*time.Second))), want: []string{window}},
		"a window that is too long":                   {rule: window, to: edit(watched().Obj(), signedBy(people(12*time.Hour+time.Second))), want: []string{window}},
		"a wallet that gets people who sign":          {rule: manualSet, from: watched().Obj(), to: edit(watched().Obj(), signedBy(people(time.Hour)))},
		"a wallet that gets a machine in their stead": {rule: remoteSet, from: edit(watched().Obj(), signedBy(people(time.Hour))), to: edit(watched().Obj(), signedBy(remoteSigner()))},

		"a wallet gets a remote signer":    {rule: remoteSet, from: watched().Obj(), to: edit(watched().Obj(), signedBy(remoteSigner()))},
		"a wallet loses its remote signer": {rule: remoteSet, from: edit(watched().Obj(), signedBy(remoteSigner())), to: watched().Obj()},

		"an invoice for an asset":    {rule: oneAmount, to: invoice().Asset(assetID, 1).Obj()},
		"an invoice for nothing":     {rule: oneAmount, to: invoice().Obj(), want: []string{oneAmount}},
		"an invoice for two things":  {rule: oneAmount, to: invoice().AmountSats(1000).Asset(assetID, 1).Obj(), want: []string{oneAmount}},
		"an invoice in the manifest": {rule: oneInvoice, to: payment().Obj()},
		"an invoice by reference":    {rule: oneInvoice, to: unresolved().InvoiceFromLightningInvoice("shop").Obj()},
		"a payment of nothing":       {rule: oneInvoice, to: unresolved().Obj(), want: []string{oneInvoice}},
		"a payment of two invoices":  {rule: oneInvoice, to: payment().InvoiceFromLightningInvoice("shop").Obj(), want: []string{oneInvoice}},

		"an invoice in a Secret":    {rule: oneSource, to: unresolved().InvoiceFromSecret("supplier", "invoice").Obj()},
		"an invoice in a ConfigMap": {rule: oneSource, to: unresolved().InvoiceFromConfigMap("supplier", "invoice").Obj()},
		"an invoice from nowhere":   {rule: oneSource, to: edit(unresolved().Obj(), func(p *v1alpha1.LightningPayment) { p.Spec.InvoiceFrom = &v1alpha1.InvoiceSource{} }), want: []string{oneSource}},
		"an invoice from two places": {rule: oneSource, to: edit(unresolved().InvoiceFromSecret("supplier", "invoice").Obj(), func(p *v1alpha1.LightningPayment) {
			p.Spec.InvoiceFrom.LightningInvoiceRef = &v1alpha1.LocalReference{Name: "shop"}
		}), want: []string{oneSource}},
		"an invoice from three places": {rule: oneSource, to: edit(unresolved().InvoiceFromSecret("supplier", "invoice").Obj(), func(p *v1alpha1.LightningPayment) {
			p.Spec.InvoiceFrom.LightningInvoiceRef = &v1alpha1.LocalReference{Name: "shop"}
			p.Spec.InvoiceFrom.ConfigMapKeyRef = &v1alpha1.KeyReference{Name: "supplier", Key: "invoice"}
		}), want: []string{oneSource}},

		"a guarded payment":          {rule: oneGuard, to: payment().AmountSats(1000).Obj()},
		"a guarded asset payment":    {rule: oneGuard, to: payment().Asset(assetID, 1).Obj()},
		"a payment without a guard":  {rule: oneGuard, to: payment().Obj()},
		"a payment with both guards": {rule: oneGuard, to: payment().AmountSats(1000).Asset(assetID, 1).Obj(), want: []string{oneGuard}},

		"a statement of a period":     {rule: onePeriod, to: statement("main")},
		"a statement by schedule":     {rule: onePeriod, to: scheduled("main")},
		"a statement of no time":      {rule: onePeriod, to: stated(func(s *v1alpha1.StatementSpec) { s.Period = nil }), want: []string{onePeriod}},
		"a statement of both":         {rule: onePeriod, to: stated(func(s *v1alpha1.StatementSpec) { s.Schedule = "@daily" }), want: []string{onePeriod}},
		"a period of a second":        {rule: inOrder, to: stated(func(s *v1alpha1.StatementSpec) { s.Period.From.Time = someDay.Add(-time.Second) })},
		"a period of no length":       {rule: inOrder, to: stated(func(s *v1alpha1.StatementSpec) { s.Period.From.Time = someDay }), want: []string{inOrder}},
		"a period that runs backward": {rule: inOrder, to: stated(func(s *v1alpha1.StatementSpec) { s.Period.From.Time = someDay.Add(time.Second) }), want: []string{inOrder}},

		"a send that is followed":                     {rule: followed, to: sendSats().Follow("7").Obj()},
		"a send of an asset that is followed":         {rule: followed, to: sendAsset().Follow("7").Obj()},
		"a send that is followed and not named":       {rule: followed, to: edit(sendSats().Obj(), func(s *v1alpha1.OnchainSend) { s.Spec.Mode = v1alpha1.ModeObserve }), want: []string{followed}},
		"a send that is made and named":               {rule: followed, to: edit(sendSats().Follow("7").Obj(), func(s *v1alpha1.OnchainSend) { s.Spec.Mode = v1alpha1.ModeApply }), want: []string{followed}},
		"a send that is named, without a mode":        {rule: followed, to: edit(sendSats().Follow("7").Obj(), func(s *v1alpha1.OnchainSend) { s.Spec.Mode = "" }), want: []string{followed}},
		"a send that is planned and named":            {rule: followed, to: edit(sendSats().Follow("7").Obj(), func(s *v1alpha1.OnchainSend) { s.Spec.Mode = v1alpha1.ModePlan }), want: []string{followed}},
		"a send that is followed comes to be made":    {rule: followed, from: sendSats().Follow("7").Obj(), to: edit(sendSats().Follow("7").Obj(), func(s *v1alpha1.OnchainSend) { s.Spec.Mode = v1alpha1.ModeApply }), want: []string{followed}},
		"a send that is made comes to be followed":    {rule: named, from: sendSats().Obj(), to: sendSats().Follow("7").Obj(), want: []string{named}},
		"a send that is followed comes to be our own": {rule: named, from: sendSats().Follow("7").Obj(), to: sendSats().Obj(), want: []string{named}},

		"bitcoin to an address":          {rule: oneTarget, to: sendSats().Obj()},
		"a send to two destinations":     {rule: oneTarget, to: sendSats().RGBInvoice(rgb).Obj(), want: []string{oneTarget}},
		"a send of an asset to nowhere":  {rule: oneTarget, to: send().Asset(assetID, 1).Obj(), want: []string{oneTarget}},
		"a send of bitcoin to nowhere":   {rule: oneTarget, to: send().AmountSats(1000).Obj(), want: []string{oneTarget, amountForKind}},
		"an asset to an RGB invoice":     {rule: amountForKind, to: sendAsset().Obj()},
		"an asset to an address":         {rule: amountForKind, to: send().Address(address).Asset(assetID, 1).Obj(), want: []string{amountForKind}},
		"bitcoin to an RGB invoice":      {rule: amountForKind, to: send().RGBInvoice(rgb).AmountSats(1000).Obj(), want: []string{amountForKind}},
		"a send of one amount":           {rule: oneAmount, to: sendSats().Obj()},
		"a send of two amounts":          {rule: oneAmount, to: sendSats().Asset(assetID, 1).Obj(), want: []string{oneAmount}},
		"a send of nothing":              {rule: oneAmount, to: send().RGBInvoice(rgb).Obj(), want: []string{oneAmount}},
		"a send of nothing to an adress": {rule: oneAmount, to: send().Address(address).Obj(), want: []string{oneAmount, amountForKind}},
	}
}

// immutableField has variants of one object that differ in one field: any one may be kept and none become another, so that what was left
// out cannot be added and what was set cannot be left out.
type immutableField struct {
	rule     string
	variants map[string]client.Object
}

func immutableFields() []immutableField {
	rule := func(field, kind string) string {
		return fmt.Sprintf("spec: %s is immutable: declare a new %s", field, kind)
	}
	unresolved := func() *testkit.LightningPaymentBuilder { return testkit.MakeLightningPayment("rent") }
	return []immutableField{
		{"spec: network is immutable: declare a new Wallet", map[string]client.Object{
			"regtest": wallet().Obj(), "signet": wallet().Network(v1alpha1.NetworkSignet).Obj(),
		}},
		{"spec: keys are immutable: other keys are another wallet, declare a new one", map[string]client.Object{
			"a Secret": wallet().KeysFrom("seed").Obj(), "another Secret": wallet().KeysFrom("seed-2").Obj(),
			"public keys": wallet().WatchOnly(xpub, xpub, "0badcafe").Obj(), "another vanilla key": wallet().WatchOnly(otherXpub, xpub, "0badcafe").Obj(),
			"another colored key": wallet().WatchOnly(xpub, otherXpub, "0badcafe").Obj(), "another fingerprint": wallet().WatchOnly(xpub, xpub, "00000000").Obj(),
		}},

		{rule("walletRef", "LightningInvoice"), map[string]client.Object{
			"main": invoice().AmountSats(1000).Obj(), "other": invoice().AmountSats(1000).Wallet("other").Obj(),
		}},
		{rule("amountSats", "LightningInvoice"), map[string]client.Object{
			"1000": invoice().AmountSats(1000).Obj(), "1001": invoice().AmountSats(1001).Obj(),
		}},
		{rule("asset", "LightningInvoice"), map[string]client.Object{
			"1": invoice().Asset(assetID, 1).Obj(), "2": invoice().Asset(assetID, 2).Obj(), "another asset": invoice().Asset(assetID+"x", 1).Obj(),
		}},
		{rule("expirySeconds", "LightningInvoice"), map[string]client.Object{
			"the default": invoice().AmountSats(1000).Obj(), "a minute": invoice().AmountSats(1000).Expiry(time.Minute).Obj(),
		}},

		{rule("publishTo", "LightningInvoice"), map[string]client.Object{
			"a ConfigMap": invoice().AmountSats(1000).PublishToConfigMap("pay").Obj(), "another": invoice().AmountSats(1000).PublishToConfigMap("other").Obj(),
			"a Secret": invoice().AmountSats(1000).PublishToSecret("pay").Obj(), "nothing": invoice().AmountSats(1000).Obj(),
		}},

		{rule("walletRef", "LightningPayment"), map[string]client.Object{
			"main": payment().Obj(), "other": payment().Wallet("other").Obj(),
		}},
		{rule("invoice", "LightningPayment"), map[string]client.Object{
			"one": payment().Obj(), "another": payment().Invoice(bolt11 + "x").Obj(),
		}},
		{rule("invoiceFrom", "LightningPayment"), map[string]client.Object{
			"a LightningInvoice": unresolved().InvoiceFromLightningInvoice("shop").Obj(), "another": unresolved().InvoiceFromLightningInvoice("bar").Obj(),
			"a Secret": unresolved().InvoiceFromSecret("supplier", "invoice").Obj(), "another key of it": unresolved().InvoiceFromSecret("supplier", "other").Obj(),
			"a ConfigMap": unresolved().InvoiceFromConfigMap("supplier", "invoice").Obj(),
		}},
		{rule("amountSats", "LightningPayment"), map[string]client.Object{
			"unset": payment().Obj(), "1000": payment().AmountSats(1000).Obj(), "1001": payment().AmountSats(1001).Obj(),
		}},
		{rule("asset", "LightningPayment"), map[string]client.Object{
			"unset": payment().Obj(), "1": payment().Asset(assetID, 1).Obj(), "2": payment().Asset(assetID, 2).Obj(), "another asset": payment().Asset(assetID+"x", 1).Obj(),
		}},
		{rule("maxFeeSats", "LightningPayment"), map[string]client.Object{
			"the default": payment().Obj(), "0": payment().MaxFeeSats(0).Obj(), "1": payment().MaxFeeSats(1).Obj(),
		}},
		{rule("validUntil", "LightningPayment"), map[string]client.Object{
			"unset": payment().Obj(), "some day": payment().ValidUntil(someDay).Obj(), "a second later": payment().ValidUntil(someDay.Add(time.Second)).Obj(),
		}},

		{rule("walletRef", "DepositAddress"), map[string]client.Object{"main": deposit("main"), "other": deposit("other")}},
		{"spec: a signature is immutable: delete it, and create another", map[string]client.Object{"of a payment": signatureOf("rent"), "of another": signatureOf("bread")}},
		{"spec: an approval is immutable: delete it, and create another", map[string]client.Object{"of a payment": approvalOf("rent"), "of another": approvalOf("bread")}},
		{rule("walletRef", "Settlement"), map[string]client.Object{"main": settlement("main"), "other": settlement("other")}},

		{rule("walletRef", "Statement"), map[string]client.Object{"main": statement("main"), "other": statement("other")}},
		{rule("period", "Statement"), map[string]client.Object{
			"December": statement("main"), "a longer one": stated(func(s *v1alpha1.StatementSpec) { s.Period.From.Time = someDay.AddDate(-1, 0, 0) }),
		}},
		{rule("schedule", "Statement"), map[string]client.Object{
			"monthly": scheduled("main"), "daily": edit(scheduled("main"), func(s *v1alpha1.Statement) { s.Spec.Schedule = "@daily" }),
		}},
		{rule("assetIDs", "Statement"), map[string]client.Object{
			"all": statement("main"), "one": stated(func(s *v1alpha1.StatementSpec) { s.AssetIDs = []string{assetID} }),
			"bitcoin": stated(func(s *v1alpha1.StatementSpec) { s.AssetIDs = []string{v1alpha1.Bitcoin} }),
		}},
		{rule("format", "Statement"), map[string]client.Object{
			"CSV": statement("main"), "JSON": stated(func(s *v1alpha1.StatementSpec) { s.Format = v1alpha1.FormatJSON }),
		}},
		{rule("source", "Statement"), map[string]client.Object{
			"the service": statement("main"), "records": stated(func(s *v1alpha1.StatementSpec) { s.Source = v1alpha1.SourceRecords }),
		}},

		{rule("walletRef", "OnchainSend"), map[string]client.Object{
			"main": sendSats().Obj(), "other": sendSats().Wallet("other").Obj(),
		}},
		{rule("to", "OnchainSend"), map[string]client.Object{
			"an address": sendSats().Obj(), "another address": sendSats().Address(address + "x").Obj(),
		}},
		{rule("to", "OnchainSend"), map[string]client.Object{
			"an RGB invoice": sendAsset().Obj(), "another RGB invoice": sendAsset().RGBInvoice(rgb + "x").Obj(),
		}},
		{rule("amountSats", "OnchainSend"), map[string]client.Object{
			"1000": sendSats().Obj(), "1001": sendSats().AmountSats(1001).Obj(),
		}},
		{rule("asset", "OnchainSend"), map[string]client.Object{
			"1": sendAsset().Obj(), "2": sendAsset().Asset(assetID, 2).Obj(), "another asset": sendAsset().Asset(assetID+"x", 1).Obj(),
		}},
		{rule("feeRate", "OnchainSend"), map[string]client.Object{
			"2": sendSats().Obj(), "3": sendSats().FeeRate(3).Obj(),
		}},
		{rule("maxFeeSats", "OnchainSend"), map[string]client.Object{
			"the default": sendSats().Obj(), "0": sendSats().MaxFeeSats(0).Obj(), "1": sendSats().MaxFeeSats(1).Obj(),
		}},
		{rule("validUntil", "OnchainSend"), map[string]client.Object{
			"some day": sendSats().ValidUntil(someDay).Obj(), "a second later": sendSats().ValidUntil(someDay.Add(time.Second)).Obj(),
		}},
		{rule("idempotencyKey", "OnchainSend"), map[string]client.Object{
			"unset": sendSats().Obj(), "one": sendSats().IdempotencyKey("1").Obj(), "another": sendSats().IdempotencyKey("2").Obj(),
		}},
		{rule("sendID", "OnchainSend"), map[string]client.Object{
			"one": sendSats().Follow("1").Obj(), "another": sendSats().Follow("2").Obj(),
		}},
	}
}

// swaps change one member of a one-of for another, which are two fields.
func swaps() map[string]ruleCase {
	rule := func(field, kind string) string {
		return fmt.Sprintf("spec: %s is immutable: declare a new %s", field, kind)
	}
	of := func(from, to client.Object, rules ...string) ruleCase {
		return ruleCase{rule: rules[0], from: from, to: to, want: rules}
	}
	sats, asset := invoice().AmountSats(1000).Obj(), invoice().Asset(assetID, 1).Obj()
	direct, resolved := payment().Obj(), testkit.MakeLightningPayment("rent").InvoiceFromLightningInvoice("shop").Obj()
	guardSats, guardAsset := payment().AmountSats(1).Obj(), payment().Asset(assetID, 1).Obj()
	amountAndAsset := func(kind string) []string { return []string{rule("amountSats", kind), rule("asset", kind)} }
	return map[string]ruleCase{
		"an invoice for bitcoin becomes one for an asset":  of(sats, asset, amountAndAsset("LightningInvoice")...),
		"an invoice for an asset becomes one for bitcoin":  of(asset, sats, amountAndAsset("LightningInvoice")...),
		"an invoice becomes a reference":                   of(direct, resolved, rule("invoice", "LightningPayment"), rule("invoiceFrom", "LightningPayment")),
		"a reference becomes an invoice":                   of(resolved, direct, rule("invoice", "LightningPayment"), rule("invoiceFrom", "LightningPayment")),
		"a guard of bitcoin becomes one of an asset":       of(guardSats, guardAsset, amountAndAsset("LightningPayment")...),
		"a guard of an asset becomes one of bitcoin":       of(guardAsset, guardSats, amountAndAsset("LightningPayment")...),
		"a send of bitcoin becomes one of an asset":        of(sendSats().Obj(), sendAsset().Obj(), append(amountAndAsset("OnchainSend"), rule("to", "OnchainSend"))...),
		"a send of an asset becomes one of bitcoin":        of(sendAsset().Obj(), sendSats().Obj(), append(amountAndAsset("OnchainSend"), rule("to", "OnchainSend"))...),
		"a payment is suspended, all else stays":           {rule: rule("amountSats", "LightningPayment"), from: guardSats, to: payment().AmountSats(1).Suspend().Obj()},
		"a send is suspended, all else stays":              {rule: rule("to", "OnchainSend"), from: sendSats().Obj(), to: sendSats().Suspend().Obj()},
		"a wallet is suspended and moves to another URL":   {rule: "spec: network is immutable: declare a new Wallet", from: wallet().Obj(), to: wallet().URL("https://other.test").Suspend().Obj()},
		"a fee limit is written out that was the default":  {rule: rule("maxFeeSats", "LightningPayment"), from: payment().Obj(), to: payment().MaxFeeSats(3000).Obj()},
		"a fee limit is left out that is the default":      {rule: rule("maxFeeSats", "OnchainSend"), from: sendSats().MaxFeeSats(10000).Obj(), to: sendSats().Obj()},
		"an expiry is written out that was the default":    {rule: rule("expirySeconds", "LightningInvoice"), from: sats, to: invoice().AmountSats(1000).Expiry(time.Hour).Obj()},
		"an instant is written again in another time zone": {rule: rule("validUntil", "OnchainSend"), from: sendSats().ValidUntil(someDay).Obj(), to: sendSats().ValidUntil(someDay.In(time.FixedZone("", 7200))).Obj()},
	}
}

// recordChanges are the cases of a PaymentRecord, whose rules let it go forward only.
func recordChanges() map[string]ruleCase {
	cases := map[string]ruleCase{
		"a claim of an order passes to another record": {
			rule: recordSpec,
			from: edit(record().Kind(v1alpha1.RecordOrderClaim).Phase(v1alpha1.RecordHeld).Obj(), claimOf("oc-1")),
			to:   edit(record().Kind(v1alpha1.RecordOrderClaim).Phase(v1alpha1.RecordHeld).Obj(), claimOf("oc-2")),
		},
		"a claim of an order passes to another holder": {
			rule: recordHolder,
			from: record().Kind(v1alpha1.RecordOrderClaim).Phase(v1alpha1.RecordHeld).Obj(),
			to:   record().Kind(v1alpha1.RecordOrderClaim).Phase(v1alpha1.RecordHeld).Holder("OnchainSend", "default", "other", "").Obj(),
		},
		"a claim of a send id passes to another holder": {
			rule: recordHolder, want: []string{recordHolder},
			from: record().Kind(v1alpha1.RecordSendClaim).Phase(v1alpha1.RecordHeld).Obj(),
			to:   record().Kind(v1alpha1.RecordSendClaim).Phase(v1alpha1.RecordHeld).Holder("OnchainSend", "default", "other", "").Obj(),
		},
		"a payment becomes a claim": {
			rule: recordSpec, want: []string{recordSpec},
			from: record().Obj(), to: record().Kind(v1alpha1.RecordOrderClaim).Obj(),
		},
		"a claim becomes a payment": {
			rule: recordSpec, want: []string{recordSpec},
			from: record().Kind(v1alpha1.RecordOrderClaim).Phase(v1alpha1.RecordHeld).Obj(), to: record().Phase(v1alpha1.RecordHeld).Obj(),
		},
		"another claim is pointed elsewhere": {
			rule: recordSpec, want: []string{recordSpec},
			from: edit(record().Kind(v1alpha1.RecordSendClaim).Phase(v1alpha1.RecordHeld).Obj(), claimOf("oc-1")),
			to:   edit(record().Kind(v1alpha1.RecordSendClaim).Phase(v1alpha1.RecordHeld).Obj(), claimOf("oc-2")),
		},
		"the amount of a payment is left out": {
			rule: recordSpec, want: []string{recordSpec},
			from: record().AmountSats(1000).Obj(), to: record().Obj(),
		},

		"the order changes after a failure that was submitted": {
			rule: recordSpec, want: []string{recordSpec},
			from: edit(record().Phase(v1alpha1.RecordFailed).Obj(), submitted), to: edit(record().Phase(v1alpha1.RecordFailed).AmountSats(1).Obj(), submitted),
		},
		"the record passes on after a failure that was submitted": {
			rule: recordHolder, want: []string{recordHolder},
			from: edit(record().Phase(v1alpha1.RecordFailed).Obj(), submitted),
			to:   record().Holder("LightningPayment", "default", "other", "").Obj(),
		},

		"a late success": {
			rule: recordSuccess,
			from: record().Phase(v1alpha1.RecordFailed).Obj(), to: record().Phase(v1alpha1.RecordSucceeded).Obj(),
		},
		"a fee is learned after success": {
			rule: recordSuccess,
			from: record().Phase(v1alpha1.RecordSucceeded).Obj(),
			to:   edit(record().Phase(v1alpha1.RecordSucceeded).Obj(), func(r *v1alpha1.PaymentRecord) { r.Journal.FeeSats = new(int64(3)) }),
		},

		"a first attempt":          {rule: recordAttempt, from: record().Obj(), to: record().Attempt(1).Obj()},
		"a second attempt":         {rule: recordAttempt, from: record().Attempt(1).Obj(), to: record().Attempt(2).Obj()},
		"the same attempt goes on": {rule: recordAttempt, from: record().Attempt(2).Obj(), to: record().Attempt(2).Phase(v1alpha1.RecordBegan).Obj()},
		"an attempt back":          {rule: recordAttempt, from: record().Attempt(2).Obj(), to: record().Attempt(1).Obj(), want: []string{recordAttempt}},
		"no attempt any more":      {rule: recordAttempt, from: record().Attempt(1).Obj(), to: record().Obj(), want: []string{recordAttempt}},

		"the service's id is learned":   {rule: recordID, from: record().Obj(), to: record().RequestID("7").Obj()},
		"the service's id stays":        {rule: recordID, from: record().RequestID("7").Obj(), to: record().RequestID("7").Attempt(1).Obj()},
		"the service's id changes":      {rule: recordID, from: record().RequestID("7").Obj(), to: record().RequestID("8").Obj(), want: []string{recordID}},
		"the service's id is forgotten": {rule: recordID, from: record().RequestID("7").Obj(), to: record().Obj(), want: []string{recordID}},
	}
	for _, phase := range recordPhases {
		from := record().Phase(phase).Obj()
		change := func(rule string, to client.Object, free ...v1alpha1.RecordPhase) ruleCase {
			if slices.Contains(free, phase) {
				return ruleCase{rule: rule, from: from, to: to}
			}
			return ruleCase{rule: rule, from: from, to: to, want: []string{rule}}
		}
		cases["the order changes while the record is "+string(phase)] = change(recordSpec, record().Phase(phase).AmountSats(1).Obj(), v1alpha1.RecordCancelled, v1alpha1.RecordFailed)
		cases["the record passes to another name while "+string(phase)] = change(recordHolder,
			record().Phase(phase).Holder("LightningPayment", "default", "other", "").Obj(), v1alpha1.RecordCancelled, v1alpha1.RecordFailed)
		cases["the record passes to another namespace while "+string(phase)] = change(recordHolder,
			record().Phase(phase).Holder("LightningPayment", "other", "rent", "").Obj(), v1alpha1.RecordCancelled, v1alpha1.RecordFailed)
		cases["the record passes to another kind while "+string(phase)] = change(recordHolder,
			record().Phase(phase).Holder("OnchainSend", "default", "rent", "").Obj(), v1alpha1.RecordCancelled, v1alpha1.RecordFailed)
		cases["the holder is created again while "+string(phase)] = ruleCase{
			rule: recordHolder, from: from, to: record().Phase(phase).Holder("LightningPayment", "default", "rent", "another-uid").Obj(),
		}
		if phase != v1alpha1.RecordSucceeded {
			cases["a success becomes "+string(phase)] = ruleCase{
				rule: recordSuccess, from: record().Phase(v1alpha1.RecordSucceeded).Obj(), to: from, want: []string{recordSuccess},
			}
		}
	}
	return cases
}

func TestRules(t *testing.T) {
	for name, tc := range ruleCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := tc.to.DeepCopyObject().(client.Object)
			if tc.from == nil {
				err := apiServer.Create(t.Context(), to, client.DryRunAll)
				checkObjections(t, err, tc.want)
				return
			}
			from := create(t, tc.from)
			to.SetName(from.GetName())
			to.SetResourceVersion(from.GetResourceVersion())
			checkObjections(t, apiServer.Update(t.Context(), to, client.DryRunAll), tc.want)
		})
	}
}

// TestRulesHaveCases fails when a CRD has a rule of which no case is accepted or none is refused, and when a case is about no rule.
func TestRulesHaveCases(t *testing.T) {
	declared := map[string]bool{}
	for _, crd := range readCRDs(t) {
		walk("", schemaOf(t, crd), func(path string, schema *apiextensionsv1.JSONSchemaProps) {
			if path == "" {
				path = "<nil>"
			}
			for _, rule := range schema.XValidations {
				if rule.Message == "" {
					t.Errorf("%s %s: the rule %q has no message", crd.Spec.Names.Kind, path, rule.Rule)
				}
				declared[fmt.Sprintf("%s %s: %s", crd.Spec.Names.Kind, path, rule.Message)] = true
			}
		})
	}
	accepted, refused := map[string]bool{}, map[string]bool{}
	index := regexp.MustCompile(`\[\d+\]`)
	for _, tc := range ruleCases() {
		kind := kindOf(tc.to)
		if tc.want == nil {
			accepted[kind+" "+index.ReplaceAllString(tc.rule, "[]")] = true
		}
		for _, rule := range tc.want {
			refused[kind+" "+index.ReplaceAllString(rule, "[]")] = true
		}
	}
	want := slices.Sorted(maps.Keys(declared))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(accepted))); diff != "" {
		t.Errorf("rules with a case that is accepted (-declared +tested):\n%s", diff)
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(refused))); diff != "" {
		t.Errorf("rules with a case that is refused (-declared +tested):\n%s", diff)
	}
}

// create stores a copy of obj under a name of its own and returns what the API server made of it.
func create(t *testing.T, obj client.Object) client.Object {
	t.Helper()
	obj = obj.DeepCopyObject().(client.Object)
	obj.SetGenerateName("case-")
	obj.SetName("")
	if err := apiServer.Create(t.Context(), obj); err != nil {
		t.Fatalf("creating what the case starts from: %v", err)
	}
	return obj
}

// badValue is what the API server puts before the message of a rule or a limit.
var badValue = regexp.MustCompile(`^Invalid value: ("(\\.|[^"\\])*": |-?[0-9.e+]+: |null: )?`)

// notChecked is an objection that only says that there are others.
const notChecked = "some validation rules were not checked"

// objections returns what the API server objects to, each as "<field>: <message>", sorted; nil where it accepts.
func objections(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(err) || status.ErrStatus.Details == nil {
		t.Fatalf("the API server failed: %v", err)
	}
	var list []string
	for _, cause := range status.ErrStatus.Details.Causes {
		if !strings.Contains(cause.Message, notChecked) {
			list = append(list, cause.Field+": "+badValue.ReplaceAllString(cause.Message, ""))
		}
	}
	slices.Sort(list)
	return list
}

func checkObjections(t *testing.T, err error, want []string) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	if diff := cmp.Diff(want, objections(t, err), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("what the API server objects to (-want +got):\n%s", diff)
	}
}

// readCRDs returns the CRDs that make manifests writes.
func readCRDs(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	root, err := testkit.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(testkit.CRDDirectory(root), "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no CRDs: %v", err)
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		crds = append(crds, crd)
	}
	return crds
}

func schemaOf(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	if len(crd.Spec.Versions) != 1 {
		t.Fatalf("%s has %d versions, want the one of this package", crd.Name, len(crd.Spec.Versions))
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// walk visits schema and everything below it. Paths are as the API server reports them, with [] for any item: status.conditions[].type.
func walk(path string, schema *apiextensionsv1.JSONSchemaProps, visit func(string, *apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		walk(strings.TrimPrefix(path+"."+name, "."), new(schema.Properties[name]), visit)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		walk(path+"[]", schema.Items.Schema, visit)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		walk(path+"[]", schema.AdditionalProperties.Schema, visit)
	}
}

func kindOf(obj client.Object) string {
	gvk, err := apiutil.GVKForObject(obj, apiServer.Scheme())
	if err != nil {
		panic(err)
	}
	return gvk.Kind
}
