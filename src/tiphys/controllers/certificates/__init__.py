"""Certificate requests: who approves kubelets' own, who signs for the four signers of Kubernetes, who tidies up."""
