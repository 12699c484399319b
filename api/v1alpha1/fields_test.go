package v1alpha1_test

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// limit is one restriction of one field that is no rule: a bound, a pattern, an enumeration.
type limit struct {
	// name and value of the restriction, as TestLimitsHaveCases makes them from a CRD.
	name string
	// accept and refuse are values of the field, the nearest ones on either side.
	accept, refuse []any
	// message is part of what the API server says to each of refuse.
	message string
}

// unset, as a value, leaves the field out. A func(any) any, as a value, makes it from the one that the object has.
type unset struct{}

func required() []limit {
	return []limit{{name: "required", refuse: []any{unset{}}, message: "Required value"}}
}

func between(lowest, highest int64) []limit { return append(atLeast(lowest), atMost(highest)...) }

func atLeast(lowest int64) []limit {
	return []limit{{
		name: fmt.Sprintf("minimum=%d", lowest), accept: []any{lowest}, refuse: []any{lowest - 1},
		message: fmt.Sprintf("should be greater than or equal to %d", lowest),
	}}
}

func atMost(highest int64) []limit {
	return []limit{{
		name: fmt.Sprintf("maximum=%d", highest), accept: []any{highest}, refuse: []any{highest + 1},
		message: fmt.Sprintf("should be less than or equal to %d", highest),
	}}
}

// length limits a string, in characters; of makes one of that many, any by default. A shortest of 0 is no limit: empty is accepted.
func length(shortest, longest int, of ...func(int) string) []limit {
	makeText := padded("")
	if len(of) > 0 {
		makeText = of[0]
	}
	limits := []limit{{
		name: fmt.Sprintf("maxLength=%d", longest), accept: []any{makeText(shortest), makeText(longest)}, refuse: []any{makeText(longest + 1)},
		message: fmt.Sprintf("may not be more than %d bytes", longest),
	}}
	if shortest > 0 {
		limits = append(limits, limit{
			name: fmt.Sprintf("minLength=%d", shortest), accept: []any{makeText(shortest)}, refuse: []any{makeText(shortest - 1)},
			message: fmt.Sprintf("should be at least %d chars long", shortest),
		})
	}
	return limits
}

func padded(prefix string) func(int) string {
	return func(n int) string {
		if n <= len(prefix) {
			return prefix[:n]
		}
		return prefix + strings.Repeat("a", n-len(prefix))
	}
}

func oneOf[T ~string](values ...T) []limit {
	l := limit{message: "supported values: ", refuse: []any{"", "Other"}}
	var names []string
	for _, value := range values {
		l.accept = append(l.accept, string(value))
		l.refuse = append(l.refuse, string(value)+" ", swapCase(string(value)))
		names = append(names, string(value))
	}
	l.name = "enum=" + strings.Join(names, ",")
	return []limit{l}
}

// ofOwnSends are the modes of a send that follows no other: Observe is only one together with a sendID.
func ofOwnSends(modes []limit) []limit {
	modes[0].accept = slices.DeleteFunc(modes[0].accept, func(mode any) bool { return mode == string(v1alpha1.ModeObserve) })
	return modes
}

func swapCase(s string) string {
	if lower := strings.ToLower(s); lower != s {
		return lower
	}
	return strings.ToUpper(s)
}

func matching(accept, refuse []any) []limit {
	return []limit{{name: "pattern", accept: accept, refuse: refuse, message: "should match"}}
}

func items(most int, item func(int) any) []limit {
	list := func(n int) []any {
		var values []any
		for i := range n {
			values = append(values, item(i))
		}
		return values
	}
	return []limit{{
		name: fmt.Sprintf("maxItems=%d", most), accept: []any{list(most)}, refuse: []any{list(most + 1)},
		message: fmt.Sprintf("must have at most %d items", most),
	}}
}

func properties(most int) []limit {
	object := func(n int) map[string]any {
		values := map[string]any{}
		for i := range n {
			values["X-Header-"+strconv.Itoa(i)] = "value"
		}
		return values
	}
	return []limit{{
		name: fmt.Sprintf("maxProperties=%d", most), accept: []any{object(most)}, refuse: []any{object(most + 1)},
		message: fmt.Sprintf("must have at most %d items", most),
	}}
}

// keyed is a list of which no two items have the same key.
func keyed(by string) []limit {
	withSecond := func(change func(map[string]any)) func(any) any {
		return func(current any) any {
			first := current.([]any)[0].(map[string]any)
			second := maps.Clone(first)
			change(second)
			return []any{first, second}
		}
	}
	return []limit{{
		name:    "list keyed by " + by,
		accept:  []any{withSecond(func(item map[string]any) { item[by] = "Another" })},
		refuse:  []any{withSecond(func(map[string]any) {})},
		message: "Duplicate value",
	}}
}

// fieldCases are the limits of fields, by path, tried in an object that has them all.
type fieldCases struct {
	of     client.Object
	limits map[string][]limit
}

func walletReference() map[string][]limit {
	return join(reference("spec.walletRef"), map[string][]limit{"spec.walletRef.namespace": length(1, 63)})
}

// limitCases returns the cases of every limit. Members of a one-of need an object each.
func limitCases() []fieldCases {
	byReference := testkit.MakeLightningPayment("rent")
	return []fieldCases{
		{fullWallet(), join(
			condition(), reference("spec.endpoint.clientCertSecretRef"), keyReference("spec.endpoint.caBundleRef"), keyReference("spec.endpoint.tokenSecretRef"),
			keyReference("spec.signer.remote.caBundleRef"), reference("spec.signer.remote.clientCertSecretRef"),
			map[string][]limit{
				"spec.signer.type":                       signerTypes(),
				"spec.signer.remote.url":                 slices.Concat(required(), length(9, 2048, padded("https://")), secureURLs()),
				"spec.signer.remote.timeout":             length(0, 32, func(n int) string { return strings.Repeat("0", max(0, n-2)) + "9s" }),
				"spec.signer.remote.clientCertSecretRef": required(),
			},
			map[string][]limit{
				"spec":                            required(),
				"spec.network":                    append(required(), oneOf(v1alpha1.NetworkMainnet, v1alpha1.NetworkTestnet, v1alpha1.NetworkSignet, v1alpha1.NetworkRegtest)...),
				"spec.endpoint":                   required(),
				"spec.endpoint.url":               slices.Concat(required(), length(8, 2048, padded("http://")), urls()),
				"spec.endpoint.timeout":           length(0, 32, func(n int) string { return strings.Repeat("0", max(0, n-2)) + "9s" }),
				"spec.endpoint.profile":           oneOf(v1alpha1.ProfileConservative, v1alpha1.ProfileReference),
				"spec.endpoint.headers":           properties(16),
				"spec.keys":                       required(),
				"spec.signer.assetPolicy":         oneOf(v1alpha1.AssetPolicyStrict, v1alpha1.AssetPolicyWarn),
				"spec.keys.watchOnly.xpubVanilla": append(required(), length(100, 120)...),
				"spec.keys.watchOnly.xpubColored": append(required(), length(100, 120)...),
				"spec.keys.watchOnly.masterFingerprint": append(required(), matching(
					[]any{"00000000", "0badcafe"}, []any{"", "0badcaf", "0badcafe0", "0BADCAFE", "0badcafg", "0badcafe\n"})...),
				"spec.acknowledgedEpoch":                                  length(0, 64),
				"spec.limits.maxPaymentSats":                              between(0, 2_100_000_000_000_000),
				"spec.limits.maxFeeSats":                                  between(0, 100_000_000),
				"spec.limits.dailySats":                                   between(0, 2_100_000_000_000_000),
				"spec.limits.requireApprovalAboveSats":                    between(0, 2_100_000_000_000_000),
				"spec.limits.requiredApprovals":                           between(1, 10),
				"spec.limits.allowedDestinations":                         items(256, func(int) any { return map[string]any{"assetID": assetID} }),
				"spec.limits.allowedDestinations[0].nodePublicKey":        matching([]any{node}, []any{"", node[1:], "04" + node[2:], strings.ToUpper(node), node + "\n"}),
				"spec.limits.allowedDestinations[0].assetID":              length(8, 128),
				"spec.limits.allowedDestinations[0].maxAssetAmount":       atLeast(1),
				"spec.limits.allowedDestinations[1].address":              length(14, 128),
				"spec.settlement.mode":                                    oneOf(v1alpha1.SettleManual, v1alpha1.SettleAutomatic),
				"spec.settlement.minimumSats":                             between(0, 2_100_000_000_000_000),
				"spec.settlement.interval":                                length(0, 32, func(n int) string { return strings.Repeat("0", max(0, n-2)) + "9h" }),
				"spec.allowedNamespaces.selector.matchExpressions[0].key": required(), "spec.allowedNamespaces.selector.matchExpressions[0].operator": required(),
				"spec.allowedNamespaces.from": append(required(), oneOf(v1alpha1.NamespacesSame, v1alpha1.NamespacesAll, v1alpha1.NamespacesSelector)...),
				"status.masterFingerprint":    length(0, 8),
				"status.xpubVanilla":          length(0, 120),
				"status.xpubColored":          length(0, 120),
				"status.assets":               append(keyed("assetID"), items(1000, func(i int) any { return map[string]any{"assetID": assetID + strconv.Itoa(i)} })...),
				"status.assets[0].assetID":    append(required(), length(0, 128)...),
				"status.assets[0].ticker":     length(0, 64),
				"status.journalEpoch":         length(0, 64),
			},
		)},
		{wallet().Obj(), reference("spec.keys.secretRef")},
		{edit(watched().Obj(), signedBy(people(time.Hour))), map[string][]limit{
			"spec.signer.manual.window": length(0, 32, func(n int) string { return strings.Repeat("0", max(0, n-2)) + "9m" }),
		}},

		{fullInvoice(), join(condition(), asset("spec.asset"), asset("status.asset"), walletReference(), target("spec.publishTo.configMapRef"), map[string][]limit{
			"spec":                         required(),
			"spec.walletRef":               required(),
			"spec.expirySeconds":           between(60, 31_536_000),
			"spec.ttlSecondsAfterFinished": between(0, 315_360_000),
			"spec.renewal":                 oneOf(v1alpha1.RenewNever, v1alpha1.RenewOnExpiry),
			"status.phase": oneOf(v1alpha1.InvoicePending, v1alpha1.InvoiceOpen, v1alpha1.InvoiceRenewing, v1alpha1.InvoiceSettled, v1alpha1.InvoiceExpired,
				v1alpha1.InvoiceFailed),
			"status.history":                items(v1alpha1.MaxInvoiceHistory, func(i int) any { return map[string]any{"renewal": int64(i), "outcome": "Watched"} }),
			"status.history[0].renewal":     required(),
			"status.history[0].paymentHash": length(0, 64),
			"status.history[0].requestID":   length(0, 256),
			"status.history[0].outcome": append(required(), oneOf(v1alpha1.OutcomeWatched, v1alpha1.OutcomeExpired, v1alpha1.OutcomeSettled,
				v1alpha1.OutcomeUnknown)...),
			"status.requestID":      length(0, 256),
			"status.paymentRequest": length(0, 8192),
			"status.paymentHash":    length(0, 64),
			"status.recordRef":      length(0, 253),
		})},
		{invoice().AmountSats(1).PublishToSecret("pay").Obj(), target("spec.publishTo.secretRef")},
		{invoice().AmountSats(1).Obj(), map[string][]limit{"spec.amountSats": between(1, 2_100_000_000_000_000)}},

		{fullPayment(), join(condition(), asset("spec.asset"), asset("status.asset"), forecast("status.plan"), signing("status.signing"), walletReference(), map[string][]limit{
			"spec":                         required(),
			"spec.walletRef":               required(),
			"spec.invoice":                 length(20, 8192),
			"spec.mode":                    paymentModes(),
			"spec.ttlSecondsAfterFinished": between(0, 315_360_000),
			"spec.maxFeeSats":              between(0, 100_000_000),
			"spec.validUntil":              instants(),
			"status.phase":                 paymentPhases(),
			"status.paymentHash":           length(0, 64),
			"status.payee":                 length(0, 66),
			"status.requestID":             length(0, 256),
			"status.recordRef":             length(0, 253),
		})},
		{payment().AmountSats(1).Obj(), map[string][]limit{"spec.amountSats": between(1, 2_100_000_000_000_000)}},
		{byReference.InvoiceFromLightningInvoice("shop").Obj(), reference("spec.invoiceFrom.lightningInvoiceRef")},
		{byReference.InvoiceFromSecret("supplier", "invoice").Obj(), keyReference("spec.invoiceFrom.secretKeyRef")},
		{byReference.InvoiceFromConfigMap("supplier", "invoice").Obj(), keyReference("spec.invoiceFrom.configMapKeyRef")},

		{fullSend(), join(condition(), forecast("status.plan"), signing("status.signing"), walletReference(), map[string][]limit{
			"spec":                         required(),
			"spec.walletRef":               required(),
			"spec.to":                      required(),
			"spec.to.address":              length(14, 128),
			"spec.amountSats":              between(330, 2_100_000_000_000_000),
			"spec.feeRate":                 between(1, 1000),
			"spec.maxFeeSats":              between(0, 100_000_000),
			"spec.mode":                    ofOwnSends(oneOf(v1alpha1.ModeApply, v1alpha1.ModePlan, v1alpha1.ModeObserve)),
			"spec.validUntil":              append(required(), instants()...),
			"spec.idempotencyKey":          length(1, 253),
			"spec.ttlSecondsAfterFinished": between(0, 315_360_000),
			"status.phase":                 paymentPhases(),
			"status.sendID":                length(0, 256),
			"status.txid":                  length(0, 64),
			"status.closeTxids":            items(256, text),
			"status.sweepTxid":             length(0, 128),
			"status.serverStatus":          length(0, 128),
			"status.errorCode":             length(0, 128),
			"status.errorMessage":          length(0, 512),
			"status.recordRef":             length(0, 253),
		})},
		{sendSats().Follow("7").Obj(), map[string][]limit{
			"spec.sendID": append(length(1, 128), matching([]any{"0f8fad5b-d9cb", "A.b_c:d~1"}, []any{"-1", "a b", "a/b", "é"})...),
		}},
		{sendAsset().Obj(), join(asset("spec.asset"), map[string][]limit{"spec.to.rgbInvoice": length(8, 2048)})},

		{fullDeposit(), join(condition(), walletReference(), map[string][]limit{
			"spec":                           required(),
			"spec.walletRef":                 required(),
			"spec.rotation":                  oneOf(v1alpha1.RotateOnUse, v1alpha1.RotateNever),
			"status.address":                 length(0, 128),
			"status.assetInvoice":            length(0, 2048),
			"status.history":                 items(100, func(int) any { return map[string]any{"address": address, "retiredAt": "2030-12-31T23:59:59Z"} }),
			"status.history[0].address":      append(required(), length(0, 128)...),
			"status.history[0].assetInvoice": length(0, 2048),
			"status.history[0].retiredAt":    required(),
		})},
		{fullSettlement(), join(condition(), walletReference(), channels("status.results"), map[string][]limit{
			"spec":                         required(),
			"spec.walletRef":               required(),
			"spec.ttlSecondsAfterFinished": between(0, 315_360_000),
			"status.phase": oneOf(v1alpha1.SettlementPending, v1alpha1.SettlementSettling, v1alpha1.SettlementSucceeded, v1alpha1.SettlementFailed,
				v1alpha1.SettlementUnknown),
			"status.recordRef": length(0, 253),
		})},

		{fullApproval(), join(reference("spec.walletRef"), map[string][]limit{
			"spec":                     required(),
			"spec.walletRef":           required(),
			"spec.walletRef.namespace": length(1, 63),
			"spec.paymentRef":          required(),
			"spec.paymentRef.kind":     append(required(), oneOf("LightningPayment", "OnchainSend")...),
			"spec.paymentRef.name":     append(required(), length(1, 253)...),
			"spec.paymentRef.uid":      append(required(), length(1, 64)...),
			"spec.planHash": append(required(), matching([]any{strings.Repeat("0f", 32)},
				[]any{"", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("0F", 32), strings.Repeat("0", 64) + "\n"})...),
			"spec.approver":  append(required(), length(1, 253)...),
			"spec.expiresAt": append(required(), instants()...),
		})},
		{fullSignature(), join(reference("spec.walletRef"), map[string][]limit{
			"spec":                     required(),
			"spec.walletRef":           required(),
			"spec.walletRef.namespace": length(1, 63),
			"spec.paymentRef":          required(),
			"spec.paymentRef.kind":     append(required(), oneOf("LightningPayment", "OnchainSend")...),
			"spec.paymentRef.name":     append(required(), length(1, 253)...),
			"spec.paymentRef.uid":      append(required(), length(1, 64)...),
			"spec.attempt":             append(required(), atLeast(1)...),
			"spec.psbt": slices.Concat(required(), length(20, 700_000), matching(
				[]any{"cHNidP8BAFICAAAAAZ38", "cHNidP8BAFICAAAAAZ3+/w=="}, []any{"cHNidP8BAFICAAAAAZ-_", "cHNidP8BAFICAAAAAZ3=====", "cHNidP8BAFICAAAAAZ38\n"})),
		})},
		{fullStatement(), join(condition(), walletReference(), map[string][]limit{
			"spec":           required(),
			"spec.walletRef": required(),
			"spec.period.from": append(required(), matching(
				[]any{"2030-11-30T23:59:59Z", "2030-11-30T23:59:59+02:00", "2030-11-30T23:59:59-12:00", "2029-12-31T23:59:59+14:00"}, notInstants)...),
			"spec.period.to": append(required(), instants()...),
			"spec.assetIDs": append(items(100, func(i int) any { return "rgb:" + strconv.Itoa(i) }), limit{
				name: "set", accept: []any{[]any{"bitcoin", assetID}}, refuse: []any{[]any{"bitcoin", "bitcoin"}}, message: "Duplicate value",
			}),
			"spec.assetIDs[0]": append(length(5, 128, padded("rgb:"))[:1], matching(
				[]any{"bitcoin", assetID}, []any{"", "rgb:", "RGB:aaaaaaaa", "bitcoins", " bitcoin", "aaaaaaaaaaaa"})...),
			"spec.format":       oneOf(v1alpha1.FormatCSV, v1alpha1.FormatJSON),
			"spec.source":       oneOf(v1alpha1.SourceService, v1alpha1.SourceRecords),
			"spec.historyLimit": between(1, 100),
			"status.totals": items(2000, func(int) any {
				return map[string]any{"asset": "bitcoin", "direction": "In", "count": int64(1), "amount": int64(1), "feeSats": int64(1)}
			}),
			"status.totals[0].asset":     append(required(), length(0, 128)...),
			"status.totals[0].direction": append(required(), oneOf(v1alpha1.DirectionIn, v1alpha1.DirectionOut)...),
			"status.totals[0].count":     required(),
			"status.totals[0].amount":    required(),
			"status.totals[0].feeSats":   required(),
			"status.documentRefs": items(1000, func(int) any {
				return map[string]any{
					"name": "october", "part": int64(1), "from": "2030-11-30T23:59:59Z", "to": "2030-12-31T23:59:59Z", "entries": int64(1), "sha256": "00",
				}
			}),
			"status.documentRefs[0].name":    append(required(), length(0, 253)...),
			"status.documentRefs[0].part":    required(),
			"status.documentRefs[0].from":    required(),
			"status.documentRefs[0].to":      required(),
			"status.documentRefs[0].entries": required(),
			"status.documentRefs[0].sha256":  append(required(), length(0, 64)...),
		})},
		{scheduled("main"), map[string][]limit{
			"spec.schedule": append(length(6, 100, func(n int) string {
				if n < 9 {
					return "@daily"[:n] // the shortest
				}
				return strings.Repeat("0", n-8) + " 0 1 * *"
			}), matching(
				[]any{"0 0 1 * *", "@monthly", "30 6 * JAN-MAR,6 MON/2"},
				[]any{"@every 1h", "TZ=UTC 0 0 1 * *", "CRON_TZ=UTC 0 0 1 * *", "0 0 1 *", "0 0 0 1 * *", "0 0 1 * * ", "@monthly ", "@reboot"})...),
		}},

		{fullRecord(), join(asset("spec.asset"), plan("journal.plan"), channels("journal.channels"), map[string][]limit{
			"spec": required(),
			"spec.kind": append(required(), oneOf(v1alpha1.RecordLightningPayment, v1alpha1.RecordOnchainSend, v1alpha1.RecordLightningInvoice,
				v1alpha1.RecordInvoicePin, v1alpha1.RecordOrderClaim, v1alpha1.RecordSendClaim, v1alpha1.RecordWalletEpoch, v1alpha1.RecordSettlement)...),
			"spec.wallet":                   required(),
			"spec.wallet.name":              append(required(), length(0, 253)...),
			"spec.wallet.namespace":         length(0, 63),
			"spec.wallet.masterFingerprint": append(required(), length(0, 8)...),
			"spec.wallet.xpubVanilla":       length(0, 120),
			"spec.wallet.server":            append(required(), length(0, 2048)...),
			"spec.paymentRequest":           length(0, 8192),
			"spec.paymentHash":              length(0, 64),
			"spec.requestID":                length(0, 256),
			"spec.destination":              length(0, 2048),
			"spec.source":                   length(0, 600),
			"spec.recordRef":                length(0, 253),
			"spec.epoch":                    length(0, 64),
			"journal":                       required(),
			"journal.phase":                 append(required(), oneOf(recordPhases...)...),
			"journal.holder":                required(),
			"journal.holder.kind":           append(required(), length(0, 63)...),
			"journal.holder.namespace":      append(required(), length(0, 63)...),
			"journal.holder.name":           append(required(), length(0, 253)...),
			"journal.holder.uid":            length(0, 64),
			"journal.txid":                  length(0, 64),
			"journal.psbtDigest":            length(0, 64),
			"journal.inputs":                items(256, text),
			"journal.inputs[0]":             length(0, 80),
			"journal.requestID":             length(0, 256),
			"journal.serverStatus":          length(0, 128),
			"journal.closeTxids":            items(256, text),
			"journal.closeTxids[0]":         length(0, 128),
			"journal.sweepTxid":             length(0, 128),
			"journal.errorCode":             length(0, 128),
			"journal.errorMessage":          length(0, 512),
			"journal.reason":                length(0, 64),
			"journal.message":               length(0, 1024),
			"journal.resolution":            length(0, 512),
		})},
	}
}

func join(parts ...map[string][]limit) map[string][]limit {
	all := map[string][]limit{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}

func text(int) any { return "text" }

func reference(path string) map[string][]limit {
	return map[string][]limit{path + ".name": append(required(), length(1, 253)...)}
}

func target(path string) map[string][]limit {
	return map[string][]limit{
		path + ".name": slices.Concat(required(), length(1, 253), matching([]any{"pay", "pay-1.shop"}, []any{"Pay", "pay_1", "-pay", "pay."})),
		path + ".key":  slices.Concat(length(1, 253), matching([]any{"BOLT11", "pay_1.txt"}, []any{"pay 1", "a/b"})),
	}
}

func keyReference(path string) map[string][]limit {
	return join(reference(path), map[string][]limit{path + ".key": append(required(), length(1, 253)...)})
}

func asset(path string) map[string][]limit {
	return map[string][]limit{
		path + ".id": slices.Concat(required(), length(8, 128, padded("rgb:")), matching(
			[]any{assetID}, []any{"RGB:aaaaaaaa", " rgb:aaaaaaaa", "aaaaaaaaaaaa"})),
		path + ".amount": append(required(), atLeast(1)...),
	}
}

func plan(path string) map[string][]limit {
	return map[string][]limit{
		path + ".hash":                  length(0, 64),
		path + ".outputs":               items(64, func(int) any { return map[string]any{"address": address, "amountSats": int64(1)} }),
		path + ".outputs[0].address":    append(required(), length(0, 256)...),
		path + ".outputs[0].amountSats": required(),
	}
}

// forecast limits a PaymentPlan.
func forecast(path string) map[string][]limit {
	return join(plan(path), asset(path+".asset"), map[string][]limit{
		path + ".verdict":     oneOf(v1alpha1.PlanWouldPay, v1alpha1.PlanAlreadyPaid, v1alpha1.PlanBlocked),
		path + ".message":     length(0, 1024),
		path + ".destination": length(0, 2048),
	})
}

func paymentModes() []limit {
	return oneOf(v1alpha1.ModeApply, v1alpha1.ModePlan, v1alpha1.ModeObserve)
}

func channels(path string) map[string][]limit {
	return map[string][]limit{
		path:                 items(100, func(int) any { return map[string]any{"type": "btc"} }),
		path + "[0].type":    length(0, 64),
		path + "[0].assetID": length(0, 128),
		path + "[0].error":   length(0, 512),
	}
}

func signing(path string) map[string][]limit {
	return map[string][]limit{path + ".psbt": length(0, 700_000), path + ".txid": length(0, 64)}
}

func paymentPhases() []limit {
	return oneOf(v1alpha1.PaymentPending, v1alpha1.PaymentPlanned, v1alpha1.PaymentAwaitingApproval, v1alpha1.PaymentAwaitingSignature,
		v1alpha1.PaymentSubmitting, v1alpha1.PaymentInFlight, v1alpha1.PaymentSucceeded, v1alpha1.PaymentFailed, v1alpha1.PaymentUnknown)
}

func urls() []limit {
	return matching(
		[]any{"https://utexo.test", "https://utexo.test:8443/api/v1", "http://[::1]:8085"},
		[]any{"utexo.test:443", "ftp://utexo.test", "HTTPS://utexo.test", "https://user:secret@utexo.test", "https://utexo.test?token=x", "https://utexo.test#x", "https://utexo.test /", " https://utexo.test", "https://"},
	)
}

// secureURLs are those of a signer, which is never reached over plain HTTP.
func secureURLs() []limit {
	return matching(
		[]any{"https://signer.test", "https://signer.test:8443/team", "https://[::1]:8443"},
		[]any{"http://signer.test", "signer.test:443", "HTTPS://signer.test", "https://user:secret@signer.test", "https://signer.test?token=x", "https://signer.test#x", "https://signer.test /"},
	)
}

// signerTypes tries Remote alone: the others are not accepted together with the signer that fullWallet names.
func signerTypes() []limit {
	limits := oneOf(v1alpha1.SignerLocal, v1alpha1.SignerRemote, v1alpha1.SignerManual)
	limits[0].accept = []any{string(v1alpha1.SignerRemote)}
	return limits
}

// notInstants are date-times to the API server, or nearly, that the Go client cannot decode or does not write back as they were.
var notInstants = []any{
	"2030-12-31t23:59:59Z", "2030-12-31T23:59:59z", "2030-12-31T23:59:59ZT", "2030-12-31T23:59:59x5Z", "2030-12-31T23:59:59.5Z", "2030-12-31T23:59:59+99:99",
	"2030-12-31T23:59:59", "2030-12-31", "2030-12-31 23:59:59Z", "0001-01-01T00:00:00Z", "0000-12-31T23:59:59+02:00", "",
}

func instants() []limit {
	return matching([]any{"2030-12-31T23:59:59Z", "2030-12-31T23:59:59+02:00", "2030-12-31T23:59:59-12:00", "2999-12-31T23:59:59+14:00"}, notInstants)
}

// condition is what Kubernetes itself demands of every condition.
func condition() map[string][]limit {
	return map[string][]limit{
		"status.conditions": append(keyed("type"), items(16, func(i int) any {
			return map[string]any{"type": "Type" + strconv.Itoa(i), "status": "True", "reason": "Reason", "message": "", "lastTransitionTime": "2030-12-31T23:59:59Z"}
		})...),
		"status.conditions[0].type":               slices.Concat(required(), length(0, 316, func(n int) string { return strings.Repeat("a", max(1, n)) }), matching([]any{"Ready", "utexo.com/Ready"}, []any{"", "Not Ready", "Ready."})),
		"status.conditions[0].status":             append(required(), oneOf(metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown)...),
		"status.conditions[0].observedGeneration": atLeast(0),
		"status.conditions[0].lastTransitionTime": required(),
		"status.conditions[0].reason":             slices.Concat(required(), length(1, 1024), matching([]any{"InFlight"}, []any{"in flight", "In.Flight", "1st"})),
		"status.conditions[0].message":            append(required(), length(0, 32768)...),
	}
}

// The objects that have everything, but for one-ofs.

func conditions() []metav1.Condition {
	return []metav1.Condition{{ObservedGeneration: 1, Type: "Ready", Status: metav1.ConditionTrue, Reason: "Tested", Message: "a case says so", LastTransitionTime: metav1.Time{Time: someDay}}}
}

func fullWallet() client.Object {
	w := wallet().URL("http://utexo.test").Timeout(time.Minute).Token("api", "token").WatchOnly(xpub, xpub, "0badcafe").AcknowledgedEpoch("1").Suspend().Obj()
	w.Spec.Endpoint.CABundleRef = &v1alpha1.KeyReference{Name: "ca", Key: "ca.crt"}
	w.Spec.Endpoint.ClientCertSecretRef = &v1alpha1.LocalReference{Name: "tls"}
	w.Spec.Endpoint.Headers = map[string]string{"X-Team": "treasury"}
	w.Spec.Limits = &v1alpha1.WalletLimits{
		MaxPaymentSats: new(int64(1)), MaxFeeSats: new(int64(1)), DailySats: new(int64(1)), RequireApprovalAboveSats: new(int64(1)), RequiredApprovals: new(int32(2)),
		AllowedDestinations: []v1alpha1.AllowedDestination{{NodePublicKey: node, AssetID: assetID, MaxAssetAmount: new(int64(1))}, {Address: address}},
	}
	w.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{
		MatchLabels: map[string]string{"team": "a"}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "b", Operator: "In", Values: []string{"c"}}},
	}}
	w.Spec.Settlement = &v1alpha1.WalletSettlement{Mode: v1alpha1.SettleAutomatic, MinimumSats: 1, Interval: &metav1.Duration{Duration: time.Hour}}
	w.Spec.Signer = remoteSigner()
	w.Spec.Signer.AssetPolicy = v1alpha1.AssetPolicyWarn
	w.Spec.Signer.Remote.CABundleRef, w.Spec.Signer.Remote.Timeout = &v1alpha1.KeyReference{Name: "ca", Key: "ca.crt"}, &metav1.Duration{Duration: time.Second}
	balance := v1alpha1.Balance{SettledSats: 1, FutureSats: 2, SpendableSats: 1}
	w.Status = v1alpha1.WalletStatus{
		ObservedGeneration: 1, MasterFingerprint: "0badcafe", XpubVanilla: xpub, XpubColored: xpub, JournalEpoch: "1",
		Payments: &v1alpha1.PaymentCounts{InFlight: 1, Succeeded: 1, Failed: 1, Unknown: 1, Unmanaged: new(int64(1))}, Budget: &v1alpha1.Budget{SpentSats24h: 1, RemainingSats: 1},
		Balance:      &v1alpha1.WalletBalance{Vanilla: balance, Colored: balance, Offchain: &v1alpha1.OffchainBalance{TotalSats: 1}},
		Assets:       []v1alpha1.AssetBalance{{AssetID: assetID, Ticker: "USDT", Precision: 6, Settled: 1, Future: 1, Spendable: 1, OffchainOutbound: new(int64(1))}},
		LastSyncTime: &metav1.Time{Time: someDay}, Conditions: conditions(),
	}
	return w
}

func fullInvoice() client.Object {
	i := invoice().Asset(assetID, 1).Expiry(time.Hour).Obj()
	i.Spec.WalletRef.Namespace, i.Spec.TTLSecondsAfterFinished = testkit.DefaultNamespace, new(int32(1))
	i.Spec.Renewal = v1alpha1.RenewNever
	i.Spec.PublishTo = &v1alpha1.InvoiceTarget{ConfigMapRef: &v1alpha1.TargetReference{Name: "pay", Key: "BOLT11"}}
	instant := &metav1.Time{Time: someDay}
	i.Status = v1alpha1.LightningInvoiceStatus{
		ObservedGeneration: 1, Phase: v1alpha1.InvoiceSettled, IssueAttempts: 1, IssueRenewal: 1, RequestID: "7", PaymentRequest: bolt11, PaymentHash: "00", AmountSats: new(int64(3)),
		Asset: i.Spec.Asset, CreatedAt: instant, ExpiresAt: instant, SettledAt: instant, Renewals: 1, RecordRef: "in-1", Conditions: conditions(),
		History: []v1alpha1.InvoiceGeneration{{
			Renewal: 1, PaymentHash: "00", RequestID: "7", CreatedAt: instant, ExpiresAt: instant, SettledAt: instant, Outcome: v1alpha1.OutcomeSettled,
		}},
	}
	return i
}

func fullPayment() client.Object {
	p := payment().Asset(assetID, 1).MaxFeeSats(1).ValidUntil(someDay).Suspend().Obj()
	p.Spec.Mode = v1alpha1.ModePlan
	p.Spec.WalletRef.Namespace, p.Spec.TTLSecondsAfterFinished = testkit.DefaultNamespace, new(int32(1))
	instant := &metav1.Time{Time: someDay}
	p.Status = v1alpha1.LightningPaymentStatus{
		ObservedGeneration: 1, Phase: v1alpha1.PaymentSucceeded, PaymentHash: "00", Payee: "02", AmountSats: new(int64(3)), Asset: p.Spec.Asset,
		FeeEstimateSats: new(int64(1)), FeeSats: new(int64(1)), RequestID: "00", Attempt: &v1alpha1.Attempt{Number: 1, StartedAt: instant},
		Plan: fullForecast(), Signing: fullSigning(), RecordRef: "ln-00", CompletedAt: instant, Conditions: conditions(),
	}
	return p
}

func fullPlan() *v1alpha1.OnchainPlan {
	return &v1alpha1.OnchainPlan{OutflowSats: 2, FeeSats: 1, Hash: "00", Outputs: []v1alpha1.PlannedOutput{{Address: address, AmountSats: 1}}}
}

func fullForecast() *v1alpha1.PaymentPlan {
	return &v1alpha1.PaymentPlan{
		Hash: "00", Verdict: v1alpha1.PlanWouldPay, Message: "would pay", Destination: address, AmountSats: 1, Asset: &v1alpha1.AssetAmount{ID: assetID, Amount: 1},
		FeeSats: new(int64(1)), MaxFeeSats: 1, OutflowSats: 2, Outputs: fullPlan().Outputs, StartBefore: &metav1.Time{Time: someDay}, BudgetRemainingSats: new(int64(1)),
	}
}

func fullSigning() *v1alpha1.SigningRequest {
	return &v1alpha1.SigningRequest{Attempt: 1, PSBT: "cHNidP8=", Txid: "00", OutflowSats: 2, FeeSats: 1, ExpiresAt: &metav1.Time{Time: someDay}}
}

func signatureOf(payment string) *v1alpha1.PaymentSignature {
	return testkit.MakePaymentSignature(v1alpha1.PaymentReference{Kind: "LightningPayment", Name: payment, UID: "1"}, 1, "cHNidP8BAFICAAAAAZ38")
}

func fullSignature() client.Object {
	s := signatureOf("rent")
	s.Namespace, s.Spec.WalletRef.Namespace = testkit.DefaultNamespace, "treasury"
	return s
}

func approvalOf(payment string) *v1alpha1.PaymentApproval {
	return testkit.MakePaymentApproval("alice", v1alpha1.PaymentReference{Kind: "LightningPayment", Name: payment, UID: "1"}, "main", strings.Repeat("0f", 32), someDay)
}

func fullApproval() client.Object {
	a := approvalOf("rent")
	a.Namespace, a.Spec.WalletRef.Namespace = testkit.DefaultNamespace, "treasury"
	return a
}

func fullSend() client.Object {
	s := sendSats().MaxFeeSats(1).IdempotencyKey("1").Suspend().Obj()
	s.Spec.Mode = v1alpha1.ModePlan
	s.Spec.WalletRef.Namespace, s.Spec.TTLSecondsAfterFinished = testkit.DefaultNamespace, new(int32(1))
	instant := &metav1.Time{Time: someDay}
	s.Status = v1alpha1.OnchainSendStatus{
		ObservedGeneration: 1, Phase: v1alpha1.PaymentFailed, SendID: "7", Txid: "00", CloseTxids: []string{"00"}, SweepTxid: "00", AmountSatsSent: new(int64(1)),
		FeeSats: new(int64(1)), ServerStatus: "FAILED", ErrorCode: "E", ErrorMessage: "no", Retryable: new(true), Attempt: &v1alpha1.Attempt{Number: 1, StartedAt: instant},
		Plan: fullForecast(), Signing: fullSigning(), RecordRef: "oc-1", CompletedAt: instant, Conditions: conditions(),
	}
	return s
}

func deposit(wallet string) *v1alpha1.DepositAddress {
	d := testkit.MakeDepositAddress(testkit.DefaultNamespace, "till")
	d.Spec.WalletRef.Name = wallet
	return d
}

func fullDeposit() client.Object {
	d := deposit("main")
	d.Spec.WalletRef.Namespace = testkit.DefaultNamespace
	d.Status = v1alpha1.DepositAddressStatus{
		ObservedGeneration: 1, Address: address, AssetInvoice: rgb, ExpiresAt: &metav1.Time{Time: someDay}, Conditions: conditions(),
		History: []v1alpha1.RetiredAddress{{Address: address, AssetInvoice: rgb, RetiredAt: metav1.Time{Time: someDay}}},
	}
	return d
}

func settlement(wallet string) *v1alpha1.Settlement {
	s := testkit.MakeSettlement(testkit.DefaultNamespace, "monday")
	s.Spec.WalletRef.Name = wallet
	return s
}

func fullChannels() []v1alpha1.SettledChannel {
	return []v1alpha1.SettledChannel{{
		Type: "asset", AssetID: assetID, CapacitySats: new(int64(1)), AssetAmount: new(int64(1)), FeeReserveSats: new(int64(1)), Error: "no",
	}}
}

func fullSettlement() client.Object {
	s := settlement("main")
	s.Spec.WalletRef.Namespace, s.Spec.TTLSecondsAfterFinished = testkit.DefaultNamespace, new(int32(1))
	s.Status = v1alpha1.SettlementStatus{
		ObservedGeneration: 1, Phase: v1alpha1.SettlementFailed, Results: fullChannels(), ChannelsOpened: new(int64(0)), RecordRef: "se-1",
		CompletedAt: &metav1.Time{Time: someDay}, Conditions: conditions(),
	}
	return s
}

func statement(wallet string) *v1alpha1.Statement {
	s := testkit.MakeStatement(testkit.DefaultNamespace, "october")
	s.Spec.WalletRef.Name = wallet
	s.Spec.Period = &v1alpha1.StatementPeriod{From: metav1.Time{Time: someDay.AddDate(0, -1, 0)}, To: metav1.Time{Time: someDay}}
	return s
}

func scheduled(wallet string) *v1alpha1.Statement {
	s := statement(wallet)
	s.Spec.Period, s.Spec.Schedule = nil, "0 0 1 * *"
	return s
}

func fullStatement() client.Object {
	s := statement("main")
	s.Spec.WalletRef.Namespace, s.Spec.AssetIDs = testkit.DefaultNamespace, []string{assetID}
	s.Status = v1alpha1.StatementStatus{
		ObservedGeneration: 1, ClosedThrough: &metav1.Time{Time: someDay}, Entries: new(int64(1)), Conditions: conditions(),
		Totals: []v1alpha1.StatementTotal{{Asset: v1alpha1.Bitcoin, Direction: v1alpha1.DirectionOut, Count: 1, Amount: 1, FeeSats: 1, FeesUnknown: 1}},
		DocumentRefs: []v1alpha1.StatementDocument{{
			Name: "october", Part: 1, From: s.Spec.Period.From, To: s.Spec.Period.To, Entries: 1, SHA256: "00",
		}},
	}
	return s
}

func fullRecord() client.Object {
	r := record().AmountSats(1).Phase(v1alpha1.RecordFailed).Attempt(1).RequestID("7").Holder("OnchainSend", "default", "payroll", "1").Obj()
	r.Spec.Wallet.XpubVanilla, r.Spec.Wallet.Namespace = xpub, "treasury"
	r.Spec.PaymentRequest, r.Spec.PaymentHash, r.Spec.RequestID, r.Spec.Destination = bolt11, "00", "7", address
	r.Spec.Asset = &v1alpha1.AssetAmount{ID: assetID, Amount: 1}
	r.Spec.MaxFeeSats, r.Spec.FeeRate, r.Spec.RecordRef, r.Spec.Epoch, r.Spec.Source = 1, 1, "oc-1", "1", "key invoice of ConfigMap supplier"
	r.Spec.StartBefore = &metav1.Time{Time: someDay}
	instant := &metav1.MicroTime{Time: someDay.Add(time.Microsecond)}
	j := &r.Journal
	j.StartedAt, j.SubmittedAt, j.NotAfter, j.RetryAfter, j.FirstAbsentAt, j.FirstFailedAt, j.RecheckedAt, j.CompletedAt = instant, instant, instant, instant, instant, instant, instant, instant
	j.SignBefore, j.UnsignedAttempts = instant, 1
	j.EndCalls, j.Refusals, j.Misses, j.AbsentBefore, j.Txid, j.PSBTDigest, j.Inputs, j.Plan = 1, 1, 1, true, "00", "00", []string{"00:0"}, fullPlan()
	j.FeeEstimateSats, j.ServerStatus, j.FeeSats, j.AmountSatsSent, j.CloseTxids, j.SweepTxid = new(int64(1)), "FAILED", new(int64(1)), new(int64(1)), []string{"00"}, "00"
	j.Channels, j.ChannelsOpened = fullChannels(), new(int64(1))
	j.ErrorCode, j.ErrorMessage, j.Retryable, j.Reason, j.Message, j.Resolution = "E", "no", new(true), "Tested", "a case says so", "paid"
	return r
}

func fullObjects() []client.Object {
	return []client.Object{fullWallet(), fullInvoice(), fullPayment(), fullSend(), fullDeposit(), fullSettlement(), fullStatement(), fullApproval(), fullSignature(), fullRecord()}
}

func TestLimits(t *testing.T) {
	for _, group := range limitCases() {
		base := raw(t, create(t, group.of))
		if wantStatus := raw(t, group.of).Object["status"]; wantStatus != nil {
			base.Object["status"] = wantStatus
		}
		for path, limits := range group.limits {
			for _, limit := range limits {
				t.Run(fmt.Sprintf("%s %s %s", base.GetKind(), path, limit.name), func(t *testing.T) {
					t.Parallel()
					for _, value := range limit.accept {
						obj := with(t, base, path, value)
						if got := objections(t, write(t, obj, path)); len(got) > 0 {
							t.Errorf("%.200v is refused: %q", value, got)
							continue
						}
						writeBack(t, obj)
					}
					for _, value := range limit.refuse {
						got := objections(t, write(t, with(t, base, path, value), path))
						if !slices.ContainsFunc(got, func(objection string) bool {
							at, message, _ := strings.Cut(objection, ": ")
							return (at == path || strings.HasPrefix(at, path+"[")) && strings.Contains(message, limit.message)
						}) {
							t.Errorf("%.200v: the API server objects to %q, want %s: %s", value, got, path, limit.message)
						}
					}
				})
			}
		}
	}
}

// raw returns obj as JSON has it, with its kind.
func raw(t *testing.T, obj client.Object) *unstructured.Unstructured {
	t.Helper()
	data, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &u.Object); err != nil {
		t.Fatal(err)
	}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kindOf(obj)))
	return u
}

// with returns a copy of obj in which the field at path is value.
func with(t *testing.T, obj *unstructured.Unstructured, path string, value any) *unstructured.Unstructured {
	t.Helper()
	obj = obj.DeepCopy()
	var parent any = obj.Object
	steps := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) })
	for _, step := range steps[:len(steps)-1] {
		switch at := parent.(type) {
		case map[string]any:
			parent = at[step]
		case []any:
			parent = at[index(t, step)]
		}
	}
	last := steps[len(steps)-1]
	switch at := parent.(type) {
	case map[string]any:
		if _, found := at[last]; !found {
			t.Fatalf("the object has no %s", path)
		}
		switch value := value.(type) {
		case unset:
			delete(at, last)
		case func(any) any:
			at[last] = value(at[last])
		default:
			at[last] = value
		}
	case []any:
		at[index(t, last)] = value
	default:
		t.Fatalf("the object has no %s", path)
	}
	return obj
}

func index(t *testing.T, step string) int {
	t.Helper()
	i, err := strconv.Atoi(step)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// write asks the API server to take obj, as a new object or, where path is in the status, as a new status, which it only tries.
func write(t *testing.T, obj *unstructured.Unstructured, path string) error {
	t.Helper()
	if strings.HasPrefix(path, "status.") {
		return apiServer.Status().Update(t.Context(), obj, client.DryRunAll)
	}
	obj.SetResourceVersion("")
	obj.SetUID("")
	obj.SetName("")
	obj.SetGenerateName("case-")
	return apiServer.Create(t.Context(), obj)
}

// writeBack fails the test where the typed client could not read obj, or not write it again as it is: one object that it cannot read stops
// every watch of its kind, and a payment whose immutable fields it cannot repeat gets no finalizer.
func writeBack(t *testing.T, obj *unstructured.Unstructured) {
	t.Helper()
	typed, err := apiServer.Scheme().New(obj.GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}
	data, err := obj.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, typed); err != nil {
		t.Fatalf("the API server accepts what the operator cannot read: %v", err)
	}
	if obj.GetKind() == "PaymentRecord" {
		return // by the operator alone, whose own words are what it repeats
	}
	written := typed.(client.Object)
	written.SetLabels(map[string]string{"a": "b"})
	if got := objections(t, apiServer.Update(t.Context(), written, client.DryRunAll)); len(got) > 0 {
		t.Errorf("the API server refuses from the operator what it accepted from a person: %q", got)
	}
}

// TestLimitsHaveCases fails when a CRD has a limit without a case, or a case is of a limit that the CRD does not have.
func TestLimitsHaveCases(t *testing.T) {
	var declared, tested []string
	for _, crd := range readCRDs(t) {
		kind := crd.Spec.Names.Kind
		walk("", schemaOf(t, crd), func(path string, schema *apiextensionsv1.JSONSchemaProps) {
			for _, name := range limitNames(schema) {
				declared = append(declared, fmt.Sprintf("%s %s %s", kind, path, name))
			}
			for _, name := range schema.Required {
				declared = append(declared, fmt.Sprintf("%s %s required", kind, strings.TrimPrefix(path+"."+name, ".")))
			}
		})
	}
	anyItem := regexp.MustCompile(`\[\d+\]`)
	for _, group := range limitCases() {
		for path, limits := range group.limits {
			for _, limit := range limits {
				tested = append(tested, fmt.Sprintf("%s %s %s", kindOf(group.of), anyItem.ReplaceAllString(path, "[]"), limit.name))
			}
		}
	}
	slices.Sort(declared)
	slices.Sort(tested)
	if diff := cmp.Diff(declared, tested); diff != "" {
		t.Errorf("limits with cases (-declared +tested):\n%s", diff)
	}
}

func limitNames(schema *apiextensionsv1.JSONSchemaProps) (names []string) {
	add := func(format string, args ...any) { names = append(names, fmt.Sprintf(format, args...)) }
	if schema.Minimum != nil {
		add("minimum=%.0f", *schema.Minimum)
	}
	if schema.Maximum != nil {
		add("maximum=%.0f", *schema.Maximum)
	}
	if schema.MinLength != nil {
		add("minLength=%d", *schema.MinLength)
	}
	if schema.MaxLength != nil {
		add("maxLength=%d", *schema.MaxLength)
	}
	if schema.MinItems != nil {
		add("minItems=%d", *schema.MinItems)
	}
	if schema.MaxItems != nil {
		add("maxItems=%d", *schema.MaxItems)
	}
	if schema.MinProperties != nil {
		add("minProperties=%d", *schema.MinProperties)
	}
	if schema.MaxProperties != nil {
		add("maxProperties=%d", *schema.MaxProperties)
	}
	if schema.Pattern != "" {
		add("pattern")
	}
	if len(schema.Enum) > 0 {
		var values []string
		for _, value := range schema.Enum {
			values = append(values, strings.Trim(string(value.Raw), `"`))
		}
		add("enum=%s", strings.Join(values, ","))
	}
	if len(schema.XListMapKeys) > 0 {
		add("list keyed by %s", strings.Join(schema.XListMapKeys, ","))
	}
	if schema.XListType != nil && *schema.XListType == "set" {
		add("set")
	}
	return names
}

// TestInstantsAreStrict tries, in every field in which a person writes an instant or a duration, what the API server would take for one and
// the Go client would not. The fields come from the types, so that a new one is tried too.
func TestInstantsAreStrict(t *testing.T) {
	values := map[reflect.Type][]any{
		reflect.TypeFor[metav1.Time]():      notInstants,
		reflect.TypeFor[metav1.MicroTime](): notInstants,
		reflect.TypeFor[metav1.Duration]():  {"", "35", "1 day", "1d", "abc", "99999999999999h", "0s", "-1m"},
	}
	tried := 0
	people := edit(watched().Obj(), signedBy(people(time.Hour)))
	for _, obj := range []client.Object{fullWallet(), people, fullInvoice(), fullPayment(), fullSend(), fullDeposit(), fullSettlement(), fullStatement()} {
		base := raw(t, obj)
		spec, _ := reflect.TypeOf(obj).Elem().FieldByName("Spec")
		walkType("spec", spec.Type, func(path string, field reflect.Type) {
			if strings.HasPrefix(path, "spec.signer.manual.") != (obj == client.Object(people)) {
				return // one of remote and manual
			}
			for _, value := range values[field] {
				tried++
				if got := objections(t, write(t, with(t, base, path, value), path)); len(got) == 0 {
					t.Errorf("%s %s: the API server accepts %q", base.GetKind(), path, value)
				}
			}
		})
	}
	if tried == 0 {
		t.Error("found no field to try")
	}
}

// walkType visits the fields of a type of the API and of those within, by the path that their JSON has.
func walkType(path string, t reflect.Type, visit func(string, reflect.Type)) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	visit(path, t)
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[v1alpha1.Wallet]().PkgPath() {
		return
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		walkType(path+"."+name, field.Type, visit)
	}
}

// TestDefaults creates what a person would write at least and reads what the API server made of it.
func TestDefaults(t *testing.T) {
	fresh := map[string]any{
		"observedGeneration": int64(-1),
		"conditions": []any{map[string]any{
			"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z",
		}},
	}
	ref := map[string]any{"name": "main"}
	cases := map[string]struct{ spec, want map[string]any }{
		"Wallet": {
			spec: map[string]any{"network": "regtest", "endpoint": map[string]any{"url": "https://utexo.test"}, "keys": map[string]any{"secretRef": ref}},
			want: map[string]any{
				"network": "regtest", "endpoint": map[string]any{"url": "https://utexo.test", "profile": "Conservative"}, "keys": map[string]any{"secretRef": ref},
			},
		},
		"LightningInvoice": {
			spec: map[string]any{"walletRef": ref, "amountSats": int64(1)},
			want: map[string]any{"walletRef": ref, "amountSats": int64(1), "expirySeconds": int64(3600), "renewal": "Never"},
		},
		"LightningPayment": {
			spec: map[string]any{"walletRef": ref, "invoice": bolt11},
			want: map[string]any{"walletRef": ref, "invoice": bolt11, "maxFeeSats": int64(3000), "mode": "Apply"},
		},
		"OnchainSend": {
			spec: map[string]any{"walletRef": ref, "to": map[string]any{"address": address}, "amountSats": int64(1000), "validUntil": "2030-12-31T23:59:59Z"},
			want: map[string]any{
				"walletRef": ref, "to": map[string]any{"address": address}, "amountSats": int64(1000), "validUntil": "2030-12-31T23:59:59Z",
				"feeRate": int64(5), "maxFeeSats": int64(10000), "mode": "Apply",
			},
		},
		"DepositAddress": {
			spec: map[string]any{"walletRef": ref}, want: map[string]any{"walletRef": ref, "rotation": "OnUse"},
		},
		"Settlement": {
			spec: map[string]any{"walletRef": ref}, want: map[string]any{"walletRef": ref},
		},
		"Statement": {
			spec: map[string]any{"walletRef": ref, "schedule": "@monthly"},
			want: map[string]any{"walletRef": ref, "schedule": "@monthly", "format": "CSV", "source": "Service", "historyLimit": int64(12)},
		},
	}
	for kind, tc := range cases {
		t.Run(kind, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{"spec": runtime.DeepCopyJSON(tc.spec)}}
			obj.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
			obj.SetNamespace(testkit.DefaultNamespace)
			obj.SetGenerateName("default-")
			// No status is taken from who creates an object, nor does it hide the default.
			obj.Object["status"] = map[string]any{"observedGeneration": int64(1)}
			if err := apiServer.Create(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
			if err := apiServer.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, obj.Object["spec"]); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(fresh, obj.Object["status"]); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			health, err := status.Compute(obj)
			if err != nil {
				t.Fatal(err)
			}
			if health.Status != status.InProgressStatus {
				t.Errorf("kstatus says %s of a fresh object, want %s: nobody has looked at it", health.Status, status.InProgressStatus)
			}
			// A status that is written without an observedGeneration claims none.
			obj.Object["status"] = map[string]any{}
			if err := apiServer.Status().Update(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]any{"observedGeneration": int64(-1)}, obj.Object["status"]); diff != "" {
				t.Errorf("an empty status (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("no others", func(t *testing.T) {
		var got []string
		for _, crd := range readCRDs(t) {
			walk("", schemaOf(t, crd), func(path string, schema *apiextensionsv1.JSONSchemaProps) {
				if schema.Default != nil {
					got = append(got, crd.Spec.Names.Kind+" "+path)
				}
			})
		}
		want := []string{
			"DepositAddress spec.rotation", "DepositAddress status", "DepositAddress status.observedGeneration",
			"LightningInvoice spec.expirySeconds", "LightningInvoice spec.publishTo.configMapRef.key", "LightningInvoice spec.publishTo.secretRef.key",
			"LightningInvoice spec.renewal", "LightningInvoice status", "LightningInvoice status.observedGeneration",
			"LightningPayment spec.maxFeeSats", "LightningPayment spec.mode", "LightningPayment status", "LightningPayment status.observedGeneration",
			"OnchainSend spec.feeRate", "OnchainSend spec.maxFeeSats", "OnchainSend spec.mode", "OnchainSend status", "OnchainSend status.observedGeneration",
			"Settlement status", "Settlement status.observedGeneration",
			"Statement spec.format", "Statement spec.historyLimit", "Statement spec.source", "Statement status", "Statement status.observedGeneration",
			"Wallet spec.endpoint.profile", "Wallet spec.settlement.mode", "Wallet spec.signer.type", "Wallet status", "Wallet status.observedGeneration",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("defaults with cases (-tested +declared):\n%s", diff)
		}
	})
}

// TestEverythingIsKept writes every field and reads it back: a field that a CRD lacks would be dropped in silence.
func TestEverythingIsKept(t *testing.T) {
	for _, obj := range fullObjects() {
		t.Run(kindOf(obj), func(t *testing.T) {
			want := raw(t, obj)
			stored := create(t, obj)
			if want.Object["status"] != nil {
				update := want.DeepCopy()
				update.SetName(stored.GetName())
				update.SetResourceVersion(stored.GetResourceVersion())
				if err := apiServer.Status().Update(t.Context(), update); err != nil {
					t.Fatal(err)
				}
			}
			if err := apiServer.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
				t.Fatal(err)
			}
			got := raw(t, stored)
			for _, part := range []string{"spec", "status", "journal"} {
				if diff := cmp.Diff(want.Object[part], got.Object[part]); diff != "" {
					t.Errorf("%s (-written +read):\n%s", part, diff)
				}
			}
		})
	}
}

// TestColumns fails when a column of kubectl get shows what no object has.
func TestColumns(t *testing.T) {
	objects := append(fullObjects(), sendAsset().Obj(), scheduled("main"))
	for _, crd := range readCRDs(t) {
		kind := crd.Spec.Names.Kind
		for _, column := range crd.Spec.Versions[0].AdditionalPrinterColumns {
			path := jsonpath.New(column.Name)
			if err := path.Parse("{" + column.JSONPath + "}"); err != nil {
				t.Errorf("%s, column %s: %v", kind, column.Name, err)
				continue
			}
			if !slices.ContainsFunc(objects, func(obj client.Object) bool {
				if column.JSONPath == ".metadata.creationTimestamp" {
					return true
				}
				values, err := path.FindResults(raw(t, obj).Object)
				return kindOf(obj) == kind && err == nil && len(values) == 1 && len(values[0]) == 1
			}) {
				t.Errorf("%s, column %s: nothing is at %s", kind, column.Name, column.JSONPath)
			}
		}
	}
}

// TestFieldsAreDescribed holds what kubectl explain shows: every field has a description that starts with its name and is a sentence.
// kubectl keeps the line breaks of a description and adds its own after 76 characters, so that longer lines come out ragged.
func TestFieldsAreDescribed(t *testing.T) {
	for _, crd := range readCRDs(t) {
		kind := crd.Spec.Names.Kind
		walk("", schemaOf(t, crd), func(path string, schema *apiextensionsv1.JSONSchemaProps) {
			name := strings.TrimSuffix(path[strings.LastIndex(path, ".")+1:], "[]")
			if path == "apiVersion" || path == "kind" || path == "metadata" || strings.Contains(path, "conditions[]") || strings.Contains(path, ".selector.match") {
				return // Kubernetes' own words
			}
			text := schema.Description
			if lines := strings.Split(text, "\n"); len(lines) > 1 {
				for _, line := range lines {
					if len(line) > 76 {
						t.Errorf("%s %s: %q is one of several lines and longer than 76 characters", kind, path, line)
					}
				}
			}
			if path == "" || strings.HasSuffix(path, "[]") {
				return // a type's description, which starts with the type's name; or none
			}
			if !strings.HasPrefix(text, name+" ") && !strings.HasPrefix(text, name+", ") && !strings.HasPrefix(text, name+": ") {
				t.Errorf("%s %s: the description %q does not start with the field's name", kind, path, text)
			}
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s %s: the description %q is no sentence", kind, path, text)
			}
		})
	}
}
