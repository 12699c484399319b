package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Finalizer keeps a payment whose money call was made until its outcome is known.
const Finalizer = "payments.utexo.com/outcome"

// AuthorAnnotation names, on a payment, the user who declared it, as the API server knows them. Where the Wallet demands approvals, none of
// them can be the author's. Admission lets nobody set another name than their own.
const AuthorAnnotation = "payments.utexo.com/author"

// ShardLabel names, on a Wallet and on all that names it, the shard of managers that works on them; those without a shard work on what does
// not have it. Its value is a DNS label.
const ShardLabel = "payments.utexo.com/shard"

// WalletReference names the Wallet that pays or receives.
type WalletReference struct {
	// name of the Wallet.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// namespace of the Wallet, default that of this resource. The Wallet of
	// another namespace must allow it by its spec.allowedNamespaces.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// AssetAmount is an amount of an RGB asset.
type AssetAmount struct {
	// id of the asset: its RGB contract id, for example rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^rgb:`
	ID string `json:"id"`

	// amount in the asset's smallest unit, from 1.
	// +required
	// +kubebuilder:validation:Minimum=1
	Amount int64 `json:"amount"`
}

// KeyReference names one key of a Secret or a ConfigMap in the namespace of the resource.
type KeyReference struct {
	// name of the Secret or ConfigMap, in the namespace of this resource.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key whose value is read.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// LocalReference names an object in the namespace of the resource.
type LocalReference struct {
	// name of the object, in the namespace of this resource.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// PaymentMode says what is done with a declared payment.
// +kubebuilder:validation:Enum=Apply;Plan;Observe
type PaymentMode string

// Modes of a payment.
const (
	// ModeApply makes the payment.
	ModeApply PaymentMode = "Apply"
	// ModePlan shows in the status what would happen, and makes no call that leads to a payment.
	ModePlan PaymentMode = "Plan"
	// ModeObserve follows a payment that somebody else makes or made, and never makes one.
	ModeObserve PaymentMode = "Observe"
)

// PlanVerdict says what a plan comes to.
// +kubebuilder:validation:Enum=WouldPay;AlreadyPaid;Blocked
type PlanVerdict string

// Verdicts of a plan.
const (
	// PlanWouldPay means that nothing but spec.mode, and approvals where the Wallet wants them, keeps the payment from being made.
	PlanWouldPay PlanVerdict = "WouldPay"
	// PlanAlreadyPaid means that the payment is being made, or was made, by whom the message names.
	PlanAlreadyPaid PlanVerdict = "AlreadyPaid"
	// PlanBlocked means that the payment would not be made now, for the reason that the message gives.
	PlanBlocked PlanVerdict = "Blocked"
)

// PaymentPlan is what a payment does to the wallet. An approval names its hash.
type PaymentPlan struct {
	// hash of what is declared and resolved: the resource, the wallet, whom it
	// pays, how much, at most at which fee, until when. What is paid under an
	// approval of this hash can be nothing else.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash,omitempty"`
	// verdict of a payment in mode Plan: WouldPay, AlreadyPaid or Blocked.
	// +optional
	Verdict PlanVerdict `json:"verdict,omitempty"`
	// message to the verdict, for a person.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// destination that is paid: a node's public key, an address or an RGB invoice.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Destination string `json:"destination,omitempty"`
	// amountSats that is paid, in sat.
	// +optional
	AmountSats int64 `json:"amountSats"`
	// asset and amount that is paid.
	// +optional
	Asset *AssetAmount `json:"asset,omitempty"`
	// feeSats that is expected, where the service estimates one, or that of the transaction once there is one, in sat.
	// +optional
	FeeSats *int64 `json:"feeSats,omitempty"`
	// maxFeeSats is the most that the payment may cost beyond its amount, in sat.
	// +optional
	MaxFeeSats int64 `json:"maxFeeSats"`
	// outflowSats is the most that leaves the wallet in all, or what leaves it once there is a transaction, in sat.
	// +optional
	OutflowSats int64 `json:"outflowSats"`
	// outputs of the transaction, once there is one, that are not the wallet's own.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Outputs []PlannedOutput `json:"outputs,omitempty"`
	// startBefore is when the payment must have started.
	// +optional
	StartBefore *metav1.Time `json:"startBefore,omitempty"`
	// budgetRemainingSats is what the Wallet's daily limit left when the plan was made, in sat.
	// +optional
	BudgetRemainingSats *int64 `json:"budgetRemainingSats,omitempty"`
}

// PaymentPhase says how far a payment is.
// +kubebuilder:validation:Enum=Pending;Planned;AwaitingApproval;AwaitingSignature;Submitting;InFlight;Succeeded;Failed;Unknown
type PaymentPhase string

// Phases of a payment. Succeeded, Failed and Unknown do not change by themselves, but for a Failed Lightning payment that the
// service later reports as succeeded.
const (
	// PaymentPending means that no call that moves money was made.
	PaymentPending PaymentPhase = "Pending"
	// PaymentPlanned means that the status says what would happen, and that nothing more is asked for.
	PaymentPlanned PaymentPhase = "Planned"
	// PaymentAwaitingApproval means that people have to approve the plan before anything happens.
	PaymentAwaitingApproval PaymentPhase = "AwaitingApproval"
	// PaymentAwaitingSignature means that people have to sign a transaction before anything is sent.
	PaymentAwaitingSignature PaymentPhase = "AwaitingSignature"
	// PaymentSubmitting means that the call that moves money was recorded, and its outcome is not known yet.
	PaymentSubmitting PaymentPhase = "Submitting"
	// PaymentInFlight means that the service accepted the payment.
	PaymentInFlight PaymentPhase = "InFlight"
	// PaymentSucceeded means that the money moved, as declared.
	PaymentSucceeded PaymentPhase = "Succeeded"
	// PaymentFailed means that no money moved.
	PaymentFailed PaymentPhase = "Failed"
	// PaymentUnknown means that money may have moved and the operator cannot find out.
	PaymentUnknown PaymentPhase = "Unknown"
)

// SigningRequest is a transaction that waits for the signature of people. It passed the same inspection as one that is signed by itself.
type SigningRequest struct {
	// attempt of the payment that the signature is of, from 1.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// psbt to sign, in base64.
	// +optional
	// +kubebuilder:validation:MaxLength=700000
	PSBT string `json:"psbt,omitempty"`
	// txid of the transaction, signed or not.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Txid string `json:"txid,omitempty"`
	// outflowSats is what leaves the wallet in all, in sat.
	// +optional
	OutflowSats int64 `json:"outflowSats"`
	// feeSats of the transaction, in sat.
	// +optional
	FeeSats int64 `json:"feeSats"`
	// expiresAt is when a signature of this attempt is not used any more. Another attempt, with another psbt, follows.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}

// Attempt is one begun, signed and submitted PSBT of a payment.
type Attempt struct {
	// number of the attempt, from 1.
	// +optional
	Number int32 `json:"number,omitempty"`

	// startedAt is when the attempt began.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
}
