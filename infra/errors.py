"""What goes wrong on the operator's side. See `wordup.errors` for the root of the tree."""

from wordup.errors import WordUpError


class DeploymentError(WordUpError):
    """A tool, an account or the deployed bot did not do what a deployment needs; `sentence` and `mend` say it all."""

    code = "deployment_failed"
