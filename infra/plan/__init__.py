"""Plans without an account: a Pulumi program run under Pulumi's mocks, its resources checked and judged."""
