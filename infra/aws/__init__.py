"""The deployment on AWS: a CDK program, and what runs it."""
