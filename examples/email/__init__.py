"""The e-mail campaign: what it may send is for the guardrails to say."""
