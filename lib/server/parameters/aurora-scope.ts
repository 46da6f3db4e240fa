/**
 * At which level Aurora keeps a parameter. An instance-level one belongs into the DB parameter group: in the cluster's group a
 * value of it can be accepted and never read (OPS-10).
 *
 * From "Amazon Aurora PostgreSQL parameters" of the Aurora user guide (AuroraPostgreSQL.Reference.ParameterGroups), whose two tables
 * are the output of describe-db-cluster-parameters and describe-db-parameters for `aurora-postgresql14`. A parameter that is in
 * the second table is instance-level; one that is in the first alone is cluster-level. For `aurora-postgresql18` public reports
 * of describe-engine-default-parameters confirm log_min_duration_statement and shared_preload_libraries as instance-level.
 */
export const AURORA_CLUSTER_LEVEL: ReadonlySet<string> = new Set(
  words(`
    array_nulls autovacuum autovacuum_analyze_scale_factor autovacuum_analyze_threshold autovacuum_freeze_max_age
    autovacuum_max_workers autovacuum_multixact_freeze_max_age autovacuum_naptime autovacuum_vacuum_cost_delay
    autovacuum_vacuum_cost_limit autovacuum_vacuum_insert_scale_factor autovacuum_vacuum_insert_threshold
    autovacuum_vacuum_scale_factor autovacuum_vacuum_threshold autovacuum_work_mem backslash_quote backtrace_functions
    client_encoding compute_query_id datestyle default_tablespace default_toast_compression extra_float_digits huge_pages
    intervalstyle krb_caseins_users lc_monetary lc_numeric lc_time log_autovacuum_min_duration max_logical_replication_workers
    max_prepared_transactions max_replication_slots max_sync_workers_per_subscription max_wal_senders password_encryption
    plan_cache_mode recovery_init_sync_method ssl_ciphers ssl_max_protocol_version ssl_min_protocol_version synchronous_commit
    timezone track_commit_timestamp track_wal_io_timing vacuum_cost_delay vacuum_cost_limit vacuum_cost_page_dirty
    vacuum_cost_page_hit vacuum_cost_page_miss vacuum_failsafe_age vacuum_freeze_min_age vacuum_freeze_table_age
    vacuum_multixact_failsafe_age vacuum_multixact_freeze_min_age vacuum_multixact_freeze_table_age wal_buffers
    wal_receiver_create_temp_slot wal_receiver_timeout wal_sender_timeout
  `),
);

export const AURORA_INSTANCE_LEVEL: ReadonlySet<string> = new Set(
  words(`
    application_name authentication_timeout auto_explain.log_analyze auto_explain.log_buffers auto_explain.log_format
    auto_explain.log_min_duration auto_explain.log_nested_statements auto_explain.log_timing auto_explain.log_triggers
    auto_explain.log_verbose auto_explain.sample_rate backend_flush_after bytea_output check_function_bodies
    client_connection_check_interval client_min_messages constraint_exclusion cpu_index_tuple_cost cpu_operator_cost
    cpu_tuple_cost cursor_tuple_fraction deadlock_timeout debug_pretty_print debug_print_parse debug_print_plan
    debug_print_rewritten default_statistics_target default_transaction_deferrable default_transaction_isolation
    default_transaction_read_only effective_cache_size effective_io_concurrency enable_async_append enable_bitmapscan
    enable_gathermerge enable_hashagg enable_hashjoin enable_incremental_sort enable_indexonlyscan enable_indexscan
    enable_material enable_memoize enable_mergejoin enable_nestloop enable_parallel_append enable_parallel_hash
    enable_partition_pruning enable_partitionwise_aggregate enable_partitionwise_join enable_seqscan enable_sort
    enable_tidscan escape_string_warning exit_on_error from_collapse_limit geqo geqo_effort geqo_generations geqo_pool_size
    geqo_seed geqo_selection_bias geqo_threshold gin_fuzzy_search_limit gin_pending_list_limit hash_mem_multiplier
    hot_standby_feedback idle_in_transaction_session_timeout idle_session_timeout join_collapse_limit lc_messages
    lo_compat_privileges log_connections log_destination log_disconnections log_duration log_error_verbosity
    log_executor_stats log_file_mode log_filename log_hostname log_line_prefix log_lock_waits log_min_duration_sample
    log_min_duration_statement log_min_error_statement log_min_messages log_parameter_max_length
    log_parameter_max_length_on_error log_parser_stats log_planner_stats log_replication_commands log_rotation_age
    log_rotation_size log_statement log_statement_sample_rate log_statement_stats log_temp_files log_timezone
    log_transaction_sample_rate log_truncate_on_rotation logging_collector logical_decoding_work_mem
    maintenance_io_concurrency maintenance_work_mem max_connections max_files_per_process max_locks_per_transaction
    max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather max_pred_locks_per_page
    max_pred_locks_per_relation max_pred_locks_per_transaction max_slot_wal_keep_size max_stack_depth
    max_standby_streaming_delay max_worker_processes min_dynamic_shared_memory min_parallel_index_scan_size
    min_parallel_table_scan_size parallel_leader_participation parallel_setup_cost parallel_tuple_cost
    pg_stat_statements.max pg_stat_statements.save pg_stat_statements.track pg_stat_statements.track_planning
    pg_stat_statements.track_utility quote_all_identifiers random_page_cost remove_temp_files_after_crash
    restart_after_crash row_security search_path seq_page_cost session_replication_role shared_buffers
    shared_preload_libraries standard_conforming_strings statement_timeout superuser_reserved_connections
    synchronize_seqscans tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval temp_buffers temp_file_limit
    temp_tablespaces track_activities track_activity_query_size track_counts track_functions track_io_timing
    transform_null_equals update_process_title wal_receiver_status_interval work_mem xmlbinary xmloption
  `),
);

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}
