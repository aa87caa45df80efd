"""The drawn demo corpus: settings in; sentences, signers and videos of drawn signing figures out.

It stands in for data sets that need a licence and is no sign language: its signs are invented."""
