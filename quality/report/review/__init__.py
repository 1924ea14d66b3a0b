"""The reviewer's page: questions about a dataset, each answered from the record of an audit."""
