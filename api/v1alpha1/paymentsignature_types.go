package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PaymentSignatureSpec is the signed PSBT of one attempt of one payment. Immutable.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a signature is immutable: delete it, and create another"
type PaymentSignatureSpec struct {
	// paymentRef is the payment that is signed, in the namespace of the signature.
	// +required
	PaymentRef PaymentReference `json:"paymentRef"`

	// walletRef is the Wallet that the payment names. Admission demands that who creates the signature holds the verb sign on it.
	// +required
	WalletRef WalletReference `json:"walletRef"`

	// attempt is the payment's status.signing.attempt, from 1: a signature is of one attempt and of no other.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt"`

	// psbt is the payment's status.signing.psbt with all its signatures, in base64.
	// +required
	// +kubebuilder:validation:MinLength=20
	// +kubebuilder:validation:MaxLength=700000
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]+={0,2}$`
	PSBT string `json:"psbt"`
}

// PaymentSignature signs one attempt of one payment from a Wallet whose
// signer is Manual. Deleting it takes the signature back, as long as the
// payment is not submitted. Who can read a signed transaction can broadcast
// it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=psig
// +kubebuilder:selectablefield:JSONPath=`.spec.paymentRef.uid`
// +kubebuilder:selectablefield:JSONPath=`.spec.attempt`
// +kubebuilder:selectablefield:JSONPath=`.spec.walletRef.name`
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.paymentRef.kind`
// +kubebuilder:printcolumn:name="Payment",type=string,JSONPath=`.spec.paymentRef.name`
// +kubebuilder:printcolumn:name="Attempt",type=integer,JSONPath=`.spec.attempt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PaymentSignature struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is signed.
	// +required
	Spec PaymentSignatureSpec `json:"spec"`
}

// PaymentSignatureList is a list of PaymentSignatures.
// +kubebuilder:object:root=true
type PaymentSignatureList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PaymentSignature `json:"items"`
}
