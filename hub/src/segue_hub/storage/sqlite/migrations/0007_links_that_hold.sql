-- The links that hold a customer together are found without looking at those that are refused.
CREATE INDEX links_holding ON links (strong) WHERE verdict = '';
