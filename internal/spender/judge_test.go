package spender

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/utexo"
)

type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(request *http.Request) (*http.Response, error) { return a(request), nil }

// TestSignedTransactionsAreBounded has a service answer each call that moves money of an on-chain send with a refusal that it gives before any
// effect. It keeps the signed transaction of each attempt all the same, and could broadcast it, so that there must not be ever more of them.
func TestSignedTransactionsAreBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
	}{
		"nothing was begun":       {400, `{"detail":"No PSBT found. Please call /withdraw-begin first to create a PSBT."}`},
		"the PSBT does not parse": {400, `{"error":"InvalidPsbt","message":"x","status":400}`},
		"the PSBT is not final":   {400, `{"error":"CannotFinalizePsbt","message":"x","status":400}`},
		"the wallet is unknown":   {404, `{"error":"Wallet for client 'tpubVanilla' does not exist."}`},
		"the request is invalid":  {422, `{"detail":[{"type":"missing","loc":["body","signed_psbt"],"msg":"Field required"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			service, err := utexo.New(utexo.Config{
				URL:    "https://utexo.invalid",
				Wallet: utexo.Wallet{XpubVanilla: "tpubVanilla", XpubColored: "tpubColored", MasterFingerprint: "1f5bd7df"},
				Transport: answering(func(request *http.Request) *http.Response {
					return &http.Response{StatusCode: tc.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(tc.body)), Request: request}
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			policy, now := payment.DefaultPolicy(), time.Now()
			order := &payment.Order{Kind: v1alpha1.RecordOnchainSend, AmountSats: 1000, MaxFeeSats: 50}
			journal := payment.NewJournal(order)
			signed := int32(0)
			for journal.Phase == v1alpha1.RecordClaimed && signed <= policy.MaxAttempts {
				journal = payment.Submitting(payment.Begin(journal, false, now), payment.Signed{}, now, now.Add(endWindow))
				signed++
				_, err := callEnd(t.Context(), order, service, "cHNidP8=", now.Add(endWindow))
				answer, refused := judge(err)
				if answer != payment.EndRefused {
					t.Fatalf("%v is taken for answer %d, want a refusal", err, answer)
				}
				journal, _, _ = payment.Ended(order, journal, answer, "", refused, v1alpha1.ProfileReference, policy, now)
			}
			if journal.Phase != v1alpha1.RecordFailed || signed > policy.MaxAttempts {
				t.Errorf("after %d signed transactions the payment is %s, want it given up after %d", signed, journal.Phase, policy.MaxAttempts)
			}
		})
	}
}

// TestDoubtsOfAssets lets a doubt pass where the Wallet says Warn, and where it says nothing for payments of bitcoin alone.
func TestDoubtsOfAssets(t *testing.T) {
	asset := &v1alpha1.AssetAmount{ID: "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8", Amount: 1}
	for name, tc := range map[string]struct {
		policy v1alpha1.AssetPolicy
		asset  *v1alpha1.AssetAmount
		want   bool
	}{
		"bitcoin, no policy":  {"", nil, true},
		"bitcoin, Strict":     {v1alpha1.AssetPolicyStrict, nil, false},
		"bitcoin, Warn":       {v1alpha1.AssetPolicyWarn, nil, true},
		"an asset, no policy": {"", asset, false},
		"an asset, Strict":    {v1alpha1.AssetPolicyStrict, asset, false},
		"an asset, Warn":      {v1alpha1.AssetPolicyWarn, asset, true},
	} {
		t.Run(name, func(t *testing.T) {
			request := toSign(&payment.Order{Kind: v1alpha1.RecordLightningPayment, Asset: tc.asset}, "", 1, tc.policy)
			if got := request.Policy.Assets.AllowUnproved; got != tc.want {
				t.Errorf("doubts pass: %t, want %t", got, tc.want)
			}
		})
	}
}
