package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Finalizer keeps a payment whose money call was made until its outcome is known.
const Finalizer = "payments.utexo.com/outcome"

// WalletReference names the Wallet that pays or receives, in the namespace of the resource.
type WalletReference struct {
	// name of the Wallet, in the namespace of this resource.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// namespace of the Wallet, default that of this resource.
	// Wallets of other namespaces cannot be used yet.
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

// PaymentPhase says how far a payment is.
// +kubebuilder:validation:Enum=Pending;Submitting;InFlight;Succeeded;Failed;Unknown
type PaymentPhase string

// Phases of a payment. Succeeded, Failed and Unknown do not change by themselves, but for a Failed Lightning payment that the
// service later reports as succeeded.
const (
	// PaymentPending means that no call that moves money was made.
	PaymentPending PaymentPhase = "Pending"
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

// Attempt is one begun, signed and submitted PSBT of a payment.
type Attempt struct {
	// number of the attempt, from 1.
	// +optional
	Number int32 `json:"number,omitempty"`

	// startedAt is when the attempt began.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
}
