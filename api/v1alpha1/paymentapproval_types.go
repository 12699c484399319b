package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PaymentApprovalSpec is one person's approval of one plan. Immutable.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an approval is immutable: delete it, and create another"
type PaymentApprovalSpec struct {
	// paymentRef is the payment that is approved, in the namespace of the approval.
	// +required
	PaymentRef PaymentReference `json:"paymentRef"`

	// walletRef is the Wallet that the payment names. Admission demands that who creates the approval holds the verb approve on it.
	// +required
	WalletRef WalletReference `json:"walletRef"`

	// planHash is the payment's status.plan.hash: what is approved is what is paid.
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	PlanHash string `json:"planHash"`

	// approver is the name, as the API server knows it, of who creates the approval; admission demands it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Approver string `json:"approver"`

	// expiresAt is when the approval ends, for example 2026-12-31T23:59:59Z. A payment that was submitted by then goes on.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	ExpiresAt metav1.Time `json:"expiresAt"`
}

// PaymentReference names one payment, and no later one of its name.
type PaymentReference struct {
	// kind of the payment: LightningPayment or OnchainSend.
	// +required
	// +kubebuilder:validation:Enum=LightningPayment;OnchainSend
	Kind string `json:"kind"`

	// name of the payment.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// uid of the payment.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid"`
}

// PaymentApproval approves the plan of one payment. Deleting it takes the approval back, as long as the payment is not submitted.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=papp,categories=utexo
// +kubebuilder:selectablefield:JSONPath=`.spec.paymentRef.uid`
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.paymentRef.kind`
// +kubebuilder:printcolumn:name="Payment",type=string,JSONPath=`.spec.paymentRef.name`
// +kubebuilder:printcolumn:name="Approver",type=string,JSONPath=`.spec.approver`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Plan",type=string,JSONPath=`.spec.planHash`,priority=1
type PaymentApproval struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is approved, by whom.
	// +required
	Spec PaymentApprovalSpec `json:"spec"`
}

// PaymentApprovalList is a list of PaymentApprovals.
// +kubebuilder:object:root=true
type PaymentApprovalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PaymentApproval `json:"items"`
}
