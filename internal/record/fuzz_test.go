package record

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// FuzzPSBTName holds that no two attempts of any two records keep their PSBT under one name.
func FuzzPSBTName(f *testing.F) {
	f.Add("oc-0123", int32(1), "oc-0123", int32(2))
	f.Add("oc-0123", int32(11), "oc-0123-psbt-1", int32(1))
	f.Add("oc-1", int32(1), "oc", int32(11))
	f.Fuzz(func(t *testing.T, a string, attempt int32, b string, other int32) {
		if (psbtName(a, attempt) == psbtName(b, other)) != (a == b && attempt == other) {
			t.Fatalf("attempt %d of %q and attempt %d of %q are both kept as %q", attempt, a, other, b, psbtName(a, attempt))
		}
	})
}

// FuzzLabels holds that the API server takes the labels of any record, and that they tell payment hashes apart but for the last digit.
func FuzzLabels(f *testing.F) {
	f.Add([]byte{0xff, 0, 0x10}, uint32(0x1f5bd7df))
	f.Fuzz(func(t *testing.T, hash []byte, fingerprint uint32) {
		spec := v1alpha1.PaymentRecordSpec{
			Kind: v1alpha1.RecordLightningPayment, PaymentHash: fmt.Sprintf("%064x", hash),
			Wallet: v1alpha1.RecordWallet{MasterFingerprint: fmt.Sprintf("%08x", fingerprint)},
		}
		found := labelsOf(spec)
		for key, value := range found {
			if wrong := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(wrong) > 0 {
				t.Fatalf("label %s=%s: %v", key, value, wrong)
			}
		}
		if len(spec.PaymentHash) == 64 && found[LabelPaymentHash]+spec.PaymentHash[63:] != spec.PaymentHash {
			t.Fatalf("%s is labelled %s", spec.PaymentHash, found[LabelPaymentHash])
		}
	})
}
