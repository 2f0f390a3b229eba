"""Shapes of 0.1 to 0.6 billion parameters, of families that a CPU runs as a graph
of MLX's ops: what their published config.json say, in fewer and narrower layers."""


def _plain(model_type, without=(), **more):
    shape = {
        "model_type": model_type,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "num_hidden_layers": 8,
        "head_dim": 64,
        "vocab_size": 32000,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "rope_theta": 10000.0,
    } | more
    return {name: value for name, value in shape.items() if name not in without}


SMALL_SHAPES = {
    "deepseek_v2-small": _plain(
        "deepseek_v2", first_k_dense_replace=1, kv_lora_rank=256, q_lora_rank=None,
        qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64, num_key_value_heads=16,
        n_routed_experts=16, num_experts_per_tok=4, n_shared_experts=1, n_group=1, topk_group=1,
        topk_method="greedy", moe_intermediate_size=512, routed_scaling_factor=1.0,
        norm_topk_prob=False),
    "falcon_h1-small": _plain(
        "falcon_h1", mamba_d_conv=4, mamba_d_head=64, mamba_d_ssm=1536, mamba_n_heads=24,
        mamba_d_state=128, mamba_n_groups=1, mamba_chunk_size=128, mamba_conv_bias=True,
        mamba_rms_norm=False, mamba_proj_bias=False, num_hidden_layers=16,
        ssm_multipliers=[1.0] * 5),
    "gemma3n-small": _plain(
        "gemma3n_text", hidden_activation="gelu_pytorch_tanh", head_dim=128,
        num_attention_heads=8, num_key_value_heads=2, num_hidden_layers=10,
        intermediate_size=[4096] * 10, num_kv_shared_layers=4, altup_num_inputs=4,
        altup_active_idx=0, altup_coef_clip=120.0, altup_correct_scale=True, laurel_rank=64,
        hidden_size_per_layer_input=128, vocab_size_per_layer_input=32000, sliding_window=512,
        layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 2,
        activation_sparsity_pattern=[0.95] * 4 + [0.0] * 6, rope_local_base_freq=10000.0),
    "gpt_neox-small": _plain(
        "gpt_neox", without=("rms_norm_eps", "head_dim", "num_key_value_heads", "rope_theta"),
        hidden_act="gelu", intermediate_size=4096, num_hidden_layers=24,
        rotary_pct=0.25, rotary_emb_base=10000,
        use_parallel_residual=True, layer_norm_eps=1e-5, tie_word_embeddings=False,
        vocab_size=50304, max_position_embeddings=8192),
    "gpt_oss-small": _plain(
        "gpt_oss", intermediate_size=1024, num_local_experts=8, num_experts_per_tok=4,
        num_hidden_layers=8, sliding_window=128, attention_bias=True, swiglu_limit=7.0,
        layer_types=["sliding_attention", "full_attention"] * 4, tie_word_embeddings=False),
    "granitemoehybrid-small": _plain(
        "granitemoehybrid", intermediate_size=512, shared_intermediate_size=1024,
        num_local_experts=16, num_experts_per_tok=6, mamba_d_conv=4, mamba_d_head=64,
        mamba_n_heads=32, mamba_expand=2, mamba_d_state=128, mamba_n_groups=1,
        mamba_chunk_size=256, mamba_conv_bias=True, mamba_proj_bias=False,
        num_hidden_layers=8, position_embedding_type="nope", attention_multiplier=0.0156,
        embedding_multiplier=12.0, logits_scaling=6.0, residual_multiplier=0.22,
        layer_types=(["mamba"] * 3 + ["attention"]) * 2),
    "mamba2-small": {
        "model_type": "mamba2", "hidden_size": 1024, "num_hidden_layers": 24, "num_heads": 32,
        "head_dim": 64, "state_size": 128, "n_groups": 1, "conv_kernel": 4, "expand": 2,
        "chunk_size": 256, "vocab_size": 50288, "layer_norm_epsilon": 1e-5, "use_bias": False,
        "use_conv_bias": True, "hidden_act": "silu", "tie_word_embeddings": True,
        "rms_norm": True, "residual_in_fp32": True},
    "nemotron_h-small": _plain(
        "nemotron_h", without=("hidden_act", "rms_norm_eps"), num_hidden_layers=12, hybrid_override_pattern="M-M*M-M-M*M-",
        intermediate_size=4096, mamba_num_heads=32, mamba_head_dim=64, ssm_state_size=128,
        n_groups=2, conv_kernel=4, chunk_size=128, use_conv_bias=True, expand=2,
        mlp_hidden_act="relu2", layer_norm_epsilon=1e-5, num_key_value_heads=2,
        tie_word_embeddings=False),
    "qwen3_moe-small": _plain(
        "qwen3_moe", num_experts=16, num_experts_per_tok=4, moe_intermediate_size=512,
        norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], head_dim=64),
    "qwen3_next-small": _plain(
        "qwen3_next", num_experts=16, num_experts_per_tok=6, moe_intermediate_size=384,
        shared_expert_intermediate_size=384, norm_topk_prob=True, decoder_sparse_step=1,
        mlp_only_layers=[], linear_conv_kernel_dim=4, linear_key_head_dim=128,
        linear_num_key_heads=8, linear_num_value_heads=16, linear_value_head_dim=128,
        head_dim=128, num_attention_heads=8, num_key_value_heads=2, num_hidden_layers=8,
        full_attention_interval=4, partial_rotary_factor=0.25),
}
