package spender

import (
	"errors"
	"fmt"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// refusal turns the error of a call into the obstacle that it means, and reports whether the service provably did nothing.
func refusal(err error) (payment.Obstacle, bool) {
	failed, ok := errors.AsType[*utexo.Error](err)
	if !ok {
		return payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "the service did not answer"}, false
	}
	obstacle := payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: problemOf(err)}
	switch {
	case failed.Effect == utexo.EffectUnknown:
		return obstacle, false
	case failed.Effect == utexo.EffectNotSent && failed.Code == utexo.CodeInvalidArgument:
		return payment.Obstacle{Reason: v1alpha1.ReasonInternalError, Message: failed.Message, DeadEnd: true}, true
	case failed.Effect == utexo.EffectNotSent, failed.Temporary(), errors.Is(err, utexo.ErrWalletNotRegistered):
		return obstacle, true
	case failed.Code == utexo.CodeDuplicatePayment:
		return payment.Obstacle{
			Reason: v1alpha1.ReasonServiceUnavailable, Message: "the service has a payment of this invoice already and did not show it; it is asked again",
		}, true
	case failed.InsufficientFunds():
		return payment.Obstacle{
			Reason:  v1alpha1.ReasonInsufficientBalance,
			Message: fmt.Sprintf("the service refuses for lack of funds (%s %s): fund the wallet; it is tried again", failed.Code, failed.Message),
		}, true
	case failed.Code == utexo.CodeNoInvoiceBegun, failed.Code == utexo.CodeNoPSBTBegun, failed.Code == utexo.CodeCannotFinalize,
		failed.Code == utexo.CodeInvalidPsbt:
		return payment.Obstacle{
			Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("the service did not take the payment (%s); another attempt follows", failed.Code),
		}, true
	}
	return payment.Obstacle{
		Reason: v1alpha1.ReasonRequestRefused, DeadEnd: true,
		Message: fmt.Sprintf("the service refuses this payment, and nothing was sent: %s %s", failed.Code, failed.Message),
	}, true
}

// judge says what is known after the call that moves money.
func judge(err error) (payment.EndAnswer, payment.Obstacle) {
	if err == nil {
		return payment.EndAccepted, payment.Obstacle{}
	}
	obstacle, refused := refusal(err)
	failed, ok := errors.AsType[*utexo.Error](err)
	switch {
	case !ok || !refused:
		return payment.EndUnclear, obstacle
	case failed.Effect == utexo.EffectNotSent:
		return payment.EndNotSent, obstacle
	case failed.Code == utexo.CodeDuplicatePayment:
		return payment.EndExists, obstacle
	case failed.Code == utexo.CodeWalletUnknown:
		// Waiting mends it, and yet it is an attempt that the service did not take: it has the signed transaction, and each attempt is another.
		obstacle.Reason = v1alpha1.ReasonProgressing
		obstacle.Message = "the service did not take the payment, since it knows the wallet no more; another attempt follows"
	}
	return payment.EndRefused, obstacle
}

// toSign asks for the signature of unsigned, which the service made for attempt number attempt of order.
func toSign(order *payment.Order, unsigned string, attempt int32, assets v1alpha1.AssetPolicy) signer.Request {
	intent := signer.Intent{
		Kind: signer.IntentKind(order.Kind), Record: order.RecordName(), Attempt: attempt,
		PaymentRequest: order.PaymentRequest, PaymentHash: order.PaymentHash, Destination: order.Destination,
		AmountSats: order.AmountSats, MaxFeeSats: order.MaxFeeSats, FeeRate: order.FeeRate,
	}
	if order.Asset != nil {
		intent.Asset = &signer.Asset{ID: order.Asset.ID, Amount: order.Asset.Amount}
	}
	policy := intent.Policy()
	// Without a policy a payment of bitcoin may pass in doubt: the reference server begins each over Lightning with colored coins.
	policy.Assets.AllowUnproved = assets == v1alpha1.AssetPolicyWarn || assets == "" && order.Asset == nil
	return signer.Request{UnsignedPSBT: unsigned, Policy: policy, Intent: intent}
}

// unprovenAsset is the event of a transaction that is signed in doubt, because the wallet wants to be warned and no more.
func unprovenAsset(signed *signer.Signed, policy psbtcheck.Policy, assets v1alpha1.AssetPolicy) []payment.Event {
	doubt := signed.Inspection.Doubt(*policy.Assets)
	if doubt == nil || assets != v1alpha1.AssetPolicyWarn {
		return nil
	}
	return []payment.Event{{
		Warning: true, Reason: v1alpha1.EventAssetNotProven,
		Message: "signed, as the Wallet's spec.signer.assetPolicy Warn says, although not all is proved: " + doubt.Message,
	}}
}

// What a record holds at most of a transaction. The digest covers all of it.
const (
	maxListed  = 256
	maxOutputs = 64
)

// inspected is what the record keeps of a signed transaction.
func inspected(signed *signer.Signed) payment.Signed {
	found := payment.Signed{Txid: signed.Txid, Digest: signed.Inspection.Digest}
	for _, input := range signed.Inspection.Inputs[:min(len(signed.Inspection.Inputs), maxListed)] {
		found.Inputs = append(found.Inputs, fmt.Sprintf("%s:%d", input.Txid, input.Vout))
	}
	found.Plan = v1alpha1.OnchainPlan{
		OutflowSats: int64(signed.Inspection.NetOutflowSats), FeeSats: int64(signed.Inspection.FeeSats), Hash: signed.Inspection.Digest,
	}
	for _, output := range signed.Inspection.Outputs {
		if output.Kind != psbtcheck.External || len(found.Plan.Outputs) == maxOutputs {
			continue
		}
		found.Plan.Outputs = append(found.Plan.Outputs, v1alpha1.PlannedOutput{Address: addressOf(output), AmountSats: int64(output.ValueSats)})
	}
	return found
}

func addressOf(output psbtcheck.Output) string {
	if output.Address != "" {
		return output.Address
	}
	text := fmt.Sprintf("%x", output.Script)
	return text[:min(len(text), 256)]
}
