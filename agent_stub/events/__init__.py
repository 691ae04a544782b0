"""Write down what happened before it is shown, and bring it to the server."""
